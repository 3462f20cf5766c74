//! Instances whose items come from one RabbitMQ, as those of many machines do.

// Each file of tests uses a part of it; helpers of tests fail by panicking.
#![allow(dead_code, clippy::unwrap_used)]

use crate::site::{Kind, Place, Site};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use testkit::rabbit::{PASSWORD, Rabbit, USER};
use testkit::{Scratch, run_within};
use work::amqp::{Client, Server};

/// A virtual host of the broker of this process.
pub(crate) struct Vhost {
    pub(crate) name: String,
    scratch: Scratch,
}

impl Vhost {
    pub(crate) fn new() -> Self {
        let scratch = Scratch::new();
        fs::write(scratch.join("password"), PASSWORD).unwrap();
        let mode = fs::Permissions::from_mode(0o600);
        fs::set_permissions(scratch.join("password"), mode).unwrap();
        Self { name: Rabbit::shared().vhost(), scratch }
    }

    /// Returns a connection of somebody who knows nothing of skynet.
    pub(crate) fn client(&self) -> Client {
        let server = Server {
            host: "127.0.0.1".to_owned(),
            port: Rabbit::shared().port(),
            vhost: self.name.clone(),
            user: USER.to_owned(),
            password_file: self.scratch.join("password"),
            tls: false,
            ca: None,
        };
        Client::connect(&server, "test").unwrap()
    }

    /// Returns how many messages of a queue are ready, and how many are in somebody's hand.
    pub(crate) fn messages(&self, queue: &str) -> Option<(usize, usize)> {
        Rabbit::shared().messages(&self.name, queue)
    }

    /// Boots an instance that is configured for it.
    #[track_caller]
    pub(crate) fn machine(&self, kind: Kind) -> Site {
        let site = Site::new(kind);
        let config = site.at(Place::Config);
        site.folder(&config);
        let password = config.join("password");
        fs::write(&password, PASSWORD).unwrap();
        fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
        let yaml = format!(
            "broker:\n  kind: rabbitmq\n  host: 127.0.0.1\n  port: {}\n  vhost: {}\n  user: {USER}\n  \
             password-file: {}\n",
            Rabbit::shared().port(),
            self.name,
            site.inside(Place::Config).join("password").display(),
        );
        fs::write(config.join("skynet.yaml"), yaml).unwrap();
        site.own_all(&config);
        if kind == Kind::System {
            let path = site.inside(Place::Config).join("password");
            let args = ["skynet:skynet", path.to_str().unwrap()];
            assert!(run_within(10, &mut site.command("chown", &args)).code == Some(0));
        }
        site.well(&["boot"]);
        site
    }
}
