//! Definitions in the engines' Ruby, as far as they are definitions and no programs: sequences,
//! concurrences and steps with plain values.

use super::tree::{Expr, Object, raw};
use serde_json::value::RawValue;
use std::iter::Peekable;
use std::str::CharIndices;

/// A word of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// `sizer`, `Ruote.define`, `do`; with a colon behind it a key.
    Name(String),
    /// `key:` or `:key`, which only what follows tells apart from a value.
    Key(String),
    Symbol(String),
    Text(String),
    Number(String),
    /// `=>`, `,`, `[`, `]`, `(`, `)`.
    Sign(&'static str),
    EndOfLine,
}

const SIGNS: [&str; 6] = ["=>", ",", "[", "]", "(", ")"];

/// Tells whether a definition looks as if it were in Ruby.
#[must_use]
pub fn is_ruby(text: &str) -> bool {
    let is_comment = |line: &&str| line.is_empty() || line.starts_with('#');
    let first = text.lines().map(str::trim).find(|line| !is_comment(line));
    first.is_some_and(|line| line.starts_with("Ruote."))
}

/// Reads a definition.
///
/// # Errors
/// What is not understood, with its line.
pub fn read(text: &str) -> Result<Expr, String> {
    let mut reader = Reader { tokens: tokens(text)?, at: 0 };
    reader.skip_lines();
    let tree = reader.block()?;
    reader.skip_lines();
    match reader.peek() {
        None => {
            tree.check()?;
            Ok(tree)
        }
        Some(_) => Err(reader.wrong("something stands behind the end")),
    }
}

/// Returns the words, each with its line.
fn tokens(text: &str) -> Result<Vec<(usize, Token)>, String> {
    let mut all = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let mut chars = line.char_indices().peekable();
        while let Some((at, c)) = chars.peek().copied() {
            let wrong = |what: &str| format!("line {}: {what} is not understood here", index + 1);
            if c == '#' {
                break;
            }
            if c.is_whitespace() {
                chars.next();
                continue;
            }
            let rest = &line[at..];
            let token = if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
                for _ in sign.chars() {
                    chars.next();
                }
                Token::Sign(sign)
            } else if c == '\'' || c == '"' {
                Token::Text(quoted(&mut chars, c).ok_or_else(|| wrong(rest))?)
            } else if c == ':' {
                chars.next();
                let is_quoted = chars.peek().copied().filter(|(_, c)| matches!(c, '\'' | '"'));
                let name = match is_quoted {
                    Some((_, quote)) => quoted(&mut chars, quote),
                    None => Some(word(&mut chars)).filter(|name| !name.is_empty()),
                };
                Token::Symbol(name.ok_or_else(|| wrong(rest))?)
            } else {
                let name = word(&mut chars);
                let is_key = chars.peek().is_some_and(|(_, c)| *c == ':');
                if is_key {
                    chars.next();
                }
                let is_number = name.starts_with(|c: char| c.is_ascii_digit() || c == '-');
                match (name.is_empty(), is_key, is_number) {
                    (true, ..) => return Err(wrong(rest)),
                    (_, true, _) => Token::Key(name),
                    (_, _, true) if serde_json::from_str::<&RawValue>(&name).is_ok() => {
                        Token::Number(name)
                    }
                    (_, _, true) => return Err(wrong(rest)),
                    _ => Token::Name(name),
                }
            };
            all.push((index + 1, token));
        }
        all.push((index + 1, Token::EndOfLine));
    }
    Ok(all)
}

fn word(chars: &mut Peekable<CharIndices<'_>>) -> String {
    let mut name = String::new();
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '!' | '?');
    while let Some((_, c)) = chars.next_if(|(_, c)| is_part(*c)) {
        name.push(c);
    }
    name
}

/// Returns a text in quotes; `None` where they do not end, or Ruby would put something into it.
fn quoted(chars: &mut Peekable<CharIndices<'_>>, quote: char) -> Option<String> {
    chars.next();
    let mut text = String::new();
    loop {
        let (_, c) = chars.next()?;
        match c {
            c if c == quote => return Some(text),
            '\\' => {
                let (_, c) = chars.next()?;
                match (quote, c) {
                    ('"', 'n') => text.push('\n'),
                    ('"', 't') => text.push('\t'),
                    (_, '\\') => text.push('\\'),
                    (_, c) if c == quote => text.push(c),
                    ('\'', c) => text.extend(['\\', c]),
                    _ => return None,
                }
            }
            '#' if quote == '"' && chars.peek().is_some_and(|(_, c)| *c == '{') => return None,
            c => text.push(c),
        }
    }
}

struct Reader {
    tokens: Vec<(usize, Token)>,
    at: usize,
}

impl Reader {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(_, token)| token)
    }

    fn take(&mut self) -> Option<Token> {
        let token = self.peek().cloned();
        self.at += 1;
        token
    }

    fn takes(&mut self, wanted: &Token) -> bool {
        let is_it = self.peek() == Some(wanted);
        self.at += usize::from(is_it);
        is_it
    }

    fn skip_lines(&mut self) {
        while self.takes(&Token::EndOfLine) {}
    }

    fn wrong(&self, what: &str) -> String {
        let line = self.tokens.get(self.at).or(self.tokens.last()).map_or(1, |(line, _)| *line);
        format!("line {line}: {what}; of Ruby, plain definitions are understood here")
    }

    /// Reads an expression, and what stands between its `do` and `end`.
    fn block(&mut self) -> Result<Expr, String> {
        let Some(Token::Name(name)) = self.take() else {
            self.at -= 1;
            return Err(self.wrong("an expression is expected"));
        };
        let name = match name.as_str() {
            "Ruote.process_definition" | "Ruote.define" => "define".to_owned(),
            _ => name,
        };
        let attributes = self.attributes()?;
        let mut children = Vec::new();
        if self.takes(&Token::Name("do".to_owned())) {
            loop {
                self.skip_lines();
                if self.takes(&Token::Name("end".to_owned())) {
                    break;
                }
                if self.peek().is_none() {
                    return Err(self.wrong("an end is missing"));
                }
                children.push(self.block()?);
            }
        }
        match self.peek() {
            None | Some(Token::EndOfLine) => Ok(Expr(name, attributes, children)),
            Some(_) => Err(self.wrong("the end of the line is expected")),
        }
    }

    fn attributes(&mut self) -> Result<Object, String> {
        let mut all = Object::new();
        let has_parentheses = self.takes(&Token::Sign("("));
        loop {
            match self.peek() {
                None | Some(Token::EndOfLine | Token::Sign(")")) => break,
                Some(Token::Name(name)) if name == "do" => break,
                Some(_) => {}
            }
            let (key, value) = self.attribute()?;
            all.insert(key, value);
            if !self.takes(&Token::Sign(",")) {
                break;
            }
            self.skip_lines();
        }
        if has_parentheses && !self.takes(&Token::Sign(")")) {
            return Err(self.wrong("a ) is missing"));
        }
        Ok(all)
    }

    fn attribute(&mut self) -> Result<(String, Box<RawValue>), String> {
        match self.take() {
            Some(Token::Key(key)) => Ok((key, self.value()?)),
            Some(Token::Symbol(key) | Token::Text(key)) => {
                if self.takes(&Token::Sign("=>")) {
                    return Ok((key, self.value()?));
                }
                // As engines have it: a key without a value.
                Ok((key, RawValue::NULL.to_owned()))
            }
            _ => {
                self.at -= 1;
                Err(self.wrong("a key or a text is expected"))
            }
        }
    }

    fn value(&mut self) -> Result<Box<RawValue>, String> {
        match self.take() {
            Some(Token::Text(text) | Token::Symbol(text)) => Ok(raw(&text)),
            Some(Token::Number(number)) => {
                Ok(RawValue::from_string(number).unwrap_or_else(|_| RawValue::NULL.to_owned()))
            }
            Some(Token::Name(name)) if name == "true" => Ok(raw(&true)),
            Some(Token::Name(name)) if name == "false" => Ok(raw(&false)),
            Some(Token::Name(name)) if name == "nil" => Ok(RawValue::NULL.to_owned()),
            Some(Token::Sign("[")) => {
                let mut list = Vec::new();
                while !self.takes(&Token::Sign("]")) {
                    list.push(self.value()?);
                    self.takes(&Token::Sign(","));
                    self.skip_lines();
                }
                Ok(raw(&list))
            }
            _ => {
                self.at -= 1;
                Err(self.wrong("a plain value is expected"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_definition_is_the_tree_that_engines_make_of_it() {
        let text = "# what it is\nRuote.process_definition :name => 'nightly', :revision => \"0.2\" do\n  sequence do\n    sizer :unit => 'MB', :n => 12345678901234567890123, :if => '${size} < 10'\n    participant 'packer', level: 9,\n      list: ['a', :b, 1.0, true, nil] # more\n    concurrence(:on_error => 'pass') do\n      a\n      b :forget => true, :'odd key' => \"x\\n\\\"\"\n    end\n  end\nend\n";
        let wanted = r#"["define",{"name":"nightly","revision":"0.2"},[["sequence",{},[["sizer",{"if":"${size} < 10","n":12345678901234567890123,"unit":"MB"},[]],["participant",{"level":9,"list":["a","b",1.0,true,null],"packer":null},[]],["concurrence",{"on_error":"pass"},[["a",{},[]],["b",{"forget":true,"odd key":"x\n\""},[]]]]]]]]"#;
        assert!(is_ruby(text));
        assert_eq!(serde_json::to_string(&read(text).unwrap()).unwrap(), wanted);
        assert_eq!(read(text).unwrap().at("0_0_1").unwrap().participant(), "packer");
    }

    #[test]
    fn the_registration_of_a_participant_is_read() {
        let text = "Ruote.process_definition :name => 'register' do\n  sequence do\n    boss_register :action => \"unregister\"\n  end\nend";
        let step = read(text).unwrap().at("0_0_0").unwrap().clone();
        assert_eq!(
            (&*step.0, step.text("action").as_deref()),
            ("boss_register", Some("unregister"))
        );
    }

    #[test]
    fn a_program_is_refused_with_its_line() {
        for (text, why) in [
            ("Ruote.define do\n  a\n", "line 2: an end is missing"),
            ("Ruote.define do\n  a :x => 1 + 2\nend", "line 2: + 2 is not understood"),
            ("Ruote.define do\n  a if x\nend", "line 2: a key or a text is expected"),
            ("Ruote.define do\n  a :x => ENV\nend", "line 2: a plain value is expected"),
            ("Ruote.define do\n  a :x => \"#{y}\"\nend", "line 2: \"#{y}\" is not understood"),
            ("Ruote.define do\n  a 'x\nend", "line 2: 'x is not understood"),
            ("Ruote.define do\n  x = 1\nend", "line 2: = 1 is not understood"),
            ("Ruote.define do\n  cursor do\n  end\nend", "no expression cursor"),
            ("Ruote.define do\nend\nfoo", "line 3: something stands behind the end"),
            ("Ruote.define do\n  a :x => [1\n", "a plain value is expected"),
            ("Ruote.define do\n  a(:x => 1\nend", "a ) is missing"),
            ("Ruote.define do\n  7\nend", "line 2: an expression is expected"),
            ("Ruote.define do\n  a :n => 007\nend", "line 2: 007"),
        ] {
            let said = read(text).unwrap_err();
            assert!(said.contains(why), "{text}: {said}");
        }
        assert!(!is_ruby("process: x") && !is_ruby("") && !is_ruby("# Ruote.x"));
    }
}
