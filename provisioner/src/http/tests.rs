// SPDX-License-Identifier: Apache-2.0
//! The whole web edge on real sockets: three listeners on ports that the kernel chose, bytes in and bytes out.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod client;
mod contract;
mod lists;
mod live;
mod media;
mod nodes;
mod operators;
mod texts;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use provisioner_api::{ContentsState, Disk, DiskContents, Inventory, Life, Nic, Register, Registered, Transport, path};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::config::Config;
use crate::images::ImageStore;
use crate::media::Media;
use crate::registry::Registry;
use crate::templates::SiteTemplates;
use crate::tls::ServerKey;
use client::{Answer, Key};

/// Nothing here takes so long unless it hangs.
const HANG: Duration = Duration::from_secs(20);

/// A running web edge.
struct Lab {
    app: Arc<App>,
    http: SocketAddr,
    api: SocketAddr,
    control: PathBuf,
    stop: CancellationToken,
    _folder: TempDir,
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Lab {
    async fn start() -> Self {
        crate::metrics::install();
        let folder = TempDir::new().unwrap();
        let config = Config::parse("", folder.path()).unwrap();
        let registry = Registry::open(folder.path()).unwrap();
        let images = ImageStore::open(folder.path(), &folder.path().join("trusted-keys")).unwrap();
        let media = Media::open(folder.path()).unwrap();
        let templates = SiteTemplates::open(&config.templates, folder.path(), |_| Ok(())).unwrap();
        let key = ServerKey::open_or_make(folder.path()).unwrap();
        let app = App::new(config, registry, images, media, templates, key, now());
        let control = folder.path().join("control.sock");
        let sockets = Sockets {
            http: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            api: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            control: UnixListener::bind(&control).unwrap(),
        };
        let (http, api) = (sockets.http.local_addr().unwrap(), sockets.api.local_addr().unwrap());
        let stop = CancellationToken::new();
        tokio::spawn(run(app.clone(), sockets, stop.clone()));
        Self {
            app,
            http,
            api,
            control,
            stop,
            _folder: folder,
        }
    }

    async fn plain(&self, method: &str, path: &str) -> Answer {
        client::plain(self.http, method, path, &[], None).await
    }

    async fn operator(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        client::control(&self.control, method, path, body).await
    }

    /// As a node with this key, or as nobody.
    async fn node(&self, key: Option<&Key>, method: &str, path: &str, body: Option<&Value>) -> Answer {
        client::tls(self.api, &self.app.key.pin, key, method, path, &[], body).await
    }

    /// As a program with this token.
    async fn program(&self, token: &str, method: &str, path: &str) -> Answer {
        let header = format!("Bearer {token}");
        client::tls(
            self.api,
            &self.app.key.pin,
            None,
            method,
            path,
            &[("authorization", &header)],
            None,
        )
        .await
    }

    async fn register(&self, key: &Key, number: u8, boot: &str, life: Life) -> Registered {
        let body = serde_json::to_value(introduction(number, boot, life)).unwrap();
        let answer = self.node(Some(key), "POST", path::REGISTER, Some(&body)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        serde_json::from_slice(&answer.body).unwrap()
    }

    async fn event(&self, key: &Key, boot: &str, sequence: u64, event: Value) -> u16 {
        let body = json!({"boot_id": boot, "sequence": sequence, "event": event});
        self.node(Some(key), "POST", path::EVENTS, Some(&body)).await.status
    }
}

/// What machine `number` says of itself.
fn introduction(number: u8, boot: &str, life: Life) -> Register {
    let mut inventory = Inventory {
        memory: 4 << 30,
        ..Inventory::default()
    };
    inventory.cpu.bits64 = true;
    inventory.cpu.threads = 2;
    inventory.disks = vec![Disk {
        name: "vda".into(),
        by_path: None,
        model: Some("QEMU HARDDISK".into()),
        serial: Some(format!("disk-of-{number:03}")),
        wwn: Some(format!("wwn-of-{number:03}")),
        size: 20_000_000_000,
        rotational: false,
        removable: false,
        read_only: false,
        transport: Transport::Virtio,
        health: None,
        in_use: false,
        contents: DiskContents {
            state: ContentsState::Empty,
            summary: "empty".into(),
            ..DiskContents::default()
        },
    }];
    let mac = format!("52:54:00:77:01:{number:02x}");
    inventory.nics = vec![Nic {
        name: "eth0".into(),
        mac,
        link: true,
        booted: true,
        ..Nic::default()
    }];
    inventory.smbios.system_uuid = Some(format!("4c4c4544-0042-3510-8052-b4c04f5737{number:02x}"));
    inventory.smbios.system_serial = Some(format!("SERIAL{number:04}"));
    Register {
        boot_id: boot.into(),
        life,
        version: "0.1.0".into(),
        inventory,
        join: None,
        vouches: false,
    }
}
