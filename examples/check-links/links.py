#!/usr/bin/env python3
"""Checks the links of a web page.

In: fields.url. Out: fields.links, how many there are; fields.broken, those that lead nowhere, each
with url and reason.
"""

import http.client
import urllib.error
import urllib.parse
import urllib.request
from html.parser import HTMLParser

import skynet

LONGEST_PAGE = 4 << 20
PATIENCE_SECONDS = 20

# What servers say that answer GET, and not HEAD: 405 Method Not Allowed, 501 Not Implemented.
NO_HEAD = (405, 501)

# What browsers send of an address as it stands there; of the rest the UTF-8, as %XX.
AS_IT_IS = "!$%&'()*+,-./:;=?@[\\]^_|~"


def quoted(url):
    """Returns an address as browsers ask for it. A ValueError says that it is none."""
    parts = urllib.parse.urlsplit(url)
    host = parts.netloc if parts.netloc.isascii() else parts.netloc.encode("idna").decode()
    path, query = (urllib.parse.quote(part, safe=AS_IT_IS) for part in (parts.path, parts.query))
    return urllib.parse.urlunsplit((parts.scheme, host, path, query, ""))


class Links(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.page = page
        self.urls = {}

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name in ("href", "src") and value:
                try:
                    url = urllib.parse.urldefrag(urllib.parse.urljoin(self.page, value.strip()))[0]
                except ValueError:
                    # Whoever asks for it is told what is wrong.
                    self.urls[value] = None
                    continue
                if url.startswith(("http://", "https://")):
                    self.urls[url] = None


@skynet.participant
class LinkChecker(skynet.Participant):
    def start(self, config):
        self.open = urllib.request.build_opener().open

    def ask(self, url, method):
        request = urllib.request.Request(quoted(url), method=method)
        return self.open(request, timeout=PATIENCE_SECONDS)

    def work(self, item):
        url = item.fields.url or ""
        if not url.startswith(("http://", "https://")):
            raise skynet.Final(f"{url!r} is no address of a page")
        try:
            with self.ask(url, "GET") as answer:
                text = answer.read(LONGEST_PAGE).decode("utf-8", "replace")
                links = Links(answer.url)
        except urllib.error.HTTPError as error:
            error.close()
            # The server's trouble may pass; that there is no such page will not.
            kind = skynet.Retry if error.code >= 500 else skynet.Final
            raise kind(f"{url}: {error.code}")
        except (ValueError, http.client.InvalidURL) as error:
            raise skynet.Final(f"{url!r} is no address of a page: {error}")
        links.feed(text)
        item.fields.links = len(links.urls)
        item.fields.broken = broken = []
        for number, link in enumerate(links.urls):
            item.check()
            item.progress(number / len(links.urls), link)
            if reason := self.reason(link):
                broken.append({"url": link, "reason": reason})
        print(f"{url}: {len(broken)} of {len(links.urls)} links are broken")

    def reason(self, link):
        """Returns why a link leads nowhere; None = it does lead somewhere."""
        try:
            try:
                self.ask(link, "HEAD").close()
            except urllib.error.HTTPError as error:
                error.close()
                if error.code not in NO_HEAD:
                    raise
                # What follows the head of the answer is not read.
                self.ask(link, "GET").close()
        except urllib.error.HTTPError as error:
            error.close()
            return str(error.code)
        except OSError as error:
            return str(getattr(error, "reason", error))
        except (ValueError, http.client.HTTPException) as error:
            # No address, or what answers does not speak HTTP.
            return str(error) or type(error).__name__
        return None


if __name__ == "__main__":
    skynet.run()
