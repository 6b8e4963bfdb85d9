// SPDX-License-Identifier: Apache-2.0
//! Every socket of the server, bound while it still may, and everything that is wrong with them told at once.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::stat::{Mode, umask};
use socket2::{Domain, Socket, Type};
use tracing::warn;

use super::apart::apart;
use super::now;
use super::taken::holder;
use super::wire::Wire;
use crate::config::{Config, DhcpMode, Ports, addresses};
use crate::doctor::look;
use crate::network::{Addresses, Files, Links, Sightings, Wanted, interfaces};
use crate::{dhcp, dns, http, leases, ntp, tftp};

/// Connections that the kernel keeps until they are accepted: a lab of a thousand machines that is switched on at
/// once fits.
const BACKLOG: i32 = 1024;

/// Permissions of the control socket: root and the server's group may steer.
const CONTROL_MODE: u32 = 0o660;

/// The bound sockets.
pub(super) struct Edges {
    dhcp: Option<dhcp::Listener>,
    tftp: tftp::Listener,
    ntp: Option<ntp::Clock>,
    dns: Option<dns::Listener>,
    http: TcpListener,
    api: TcpListener,
    control: UnixListener,
    links: Links,
}

/// An edge that answers for ever.
type Edge = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// The sockets in the hands of the runtime.
pub(super) struct Running {
    pub(super) edges: Vec<Edge>,
    pub(super) web: http::Sockets,
}

impl Edges {
    /// Binds all, or says all that stands in the way.
    pub(super) fn bind(config: &Config, wire: &Arc<Wire>) -> Result<Self> {
        // That there is no interface is told by DHCP, where it matters.
        let here = interfaces(&config.interfaces, &config.mentioned());
        let mut problems = here.map_or_else(|_| Vec::new(), |here| addresses::not_served(config, &here));
        let wanted = Wanted {
            named: config.interfaces.clone(),
            mentioned: config.segments.keys().cloned().collect(),
        };
        let links = Links::open(wanted, config.serves_dhcp())?;
        let files: Arc<dyn Files> = wire.clone();
        let sightings: Arc<dyn Sightings> = wire.clone();
        let ports = &config.ports;
        let answered = Addresses::default();
        let dns = bind_dns(config, &links, answered.clone(), wire);
        let dns = keep(&mut problems, "udp", ports.dns, dns).flatten();
        let dhcp = bind_dhcp(config, &links, names(config, answered), &files, &sightings);
        let dhcp = keep(&mut problems, "udp", ports.dhcp, dhcp).flatten();
        let settings = tftp::Settings {
            port: ports.tftp,
            http_port: ports.http,
            limits: config.limits.tftp,
        };
        let tftp = tftp::bind(&settings, files, sightings.clone());
        let tftp = keep(&mut problems, "udp", ports.tftp, tftp);
        let ntp = config.ntp.then(|| bind_ntp(config, &links, sightings));
        let ntp = ntp.and_then(|ntp| keep(&mut problems, "udp", ports.ntp, ntp));
        let http = keep(&mut problems, "tcp", ports.http, listen(ports.http));
        let api = keep(&mut problems, "tcp", ports.api, listen(ports.api));
        let control = keep(&mut problems, "unix", 0, listen_on(&config.paths.control_socket()));
        match (tftp, http, api, control) {
            (Some(tftp), Some(http), Some(api), Some(control)) if problems.is_empty() => Ok(Self {
                dhcp,
                tftp,
                ntp,
                dns,
                http,
                api,
                control,
                links,
            }),
            _ => bail!("the server cannot start:\n  {}", problems.join("\n  ")),
        }
    }

    /// The ports as they are.
    pub(super) fn ports(&self, config: &Config) -> Result<Ports> {
        let port = |socket: &TcpListener| {
            socket
                .local_addr()
                .context("asking for a socket's port")
                .map(|at| at.port())
        };
        Ok(Ports {
            http: port(&self.http)?,
            api: port(&self.api)?,
            ..config.ports
        })
    }

    /// Hands the sockets to the runtime that this is called from.
    pub(super) fn into_runtime(self) -> Result<Running> {
        let tcp = |socket: TcpListener| {
            socket.set_nonblocking(true)?;
            tokio::net::TcpListener::from_std(socket)
        };
        let unix = |socket: UnixListener| {
            socket.set_nonblocking(true)?;
            tokio::net::UnixListener::from_std(socket)
        };
        let handing = "handing a socket to the runtime";
        let web = http::Sockets {
            http: tcp(self.http).context(handing)?,
            api: tcp(self.api).context(handing)?,
            control: unix(self.control).context(handing)?,
        };
        let mut edges: Vec<Edge> = vec![Box::pin(self.tftp.run()), Box::pin(self.links.run())];
        edges.extend(self.dhcp.map(|dhcp| Box::pin(apart("dhcp", dhcp.run())) as Edge));
        edges.extend(self.ntp.map(|ntp| Box::pin(ntp.run()) as Edge));
        edges.extend(self.dns.map(|dns| Box::pin(dns.run()) as Edge));
        Ok(Running { edges, web })
    }
}

fn bind_dns(config: &Config, links: &Links, answered: Addresses, wire: &Arc<Wire>) -> Result<Option<dns::Listener>> {
    let Some(dns) = &config.dns else { return Ok(None) };
    let (anywhere, general, sections) = (config.serves_dhcp(), config.dhcp.mode, config.segments.clone());
    // One that is to be left alone is. Where no interface has DHCP another server does that, and names are still ours.
    let serves = move |interface: &str| {
        let mode = sections.get(interface).map_or(general, |section| section.mode);
        !anywhere || mode != DhcpMode::Off
    };
    let settings = dns::Settings {
        domain: dns.domain.clone(),
        pools: config.profiles.keys().cloned().collect(),
        forward: dns.forward.clone(),
        behind_relays: config
            .subnets
            .iter()
            .map(|subnet| (subnet.network, subnet.prefix))
            .collect(),
        serves: Arc::new(serves),
        answered,
        port: config.ports.dns,
    };
    dns::bind(settings, links.follow(), wire.clone(), wire.clone()).map(Some)
}

/// What is announced of names, where they are answered.
fn names(config: &Config, answered: Addresses) -> Option<dhcp::Names> {
    let dns = config.dns.as_ref()?;
    Some(dhcp::Names {
        domain: dns.domain.clone(),
        servers: answered,
    })
}

fn bind_ntp(config: &Config, links: &Links, sightings: Arc<dyn Sightings>) -> Result<ntp::Clock> {
    let built = u64::try_from(look::built(now())).unwrap_or(0);
    let settings = ntp::Settings {
        port: config.ports.ntp,
        here: links.follow(),
        earliest: Duration::from_millis(built),
    };
    ntp::bind(settings, sightings)
}

fn bind_dhcp(
    config: &Config,
    links: &Links,
    names: Option<dhcp::Names>,
    files: &Arc<dyn Files>,
    sightings: &Arc<dyn Sightings>,
) -> Result<Option<dhcp::Listener>> {
    if !config.serves_dhcp() {
        return Ok(None);
    }
    let settings = dhcp::Settings {
        general: config.dhcp.clone(),
        sections: config.segments.clone(),
        subnets: config.subnets.clone(),
        reservations: config.reservations.clone(),
        names,
        ntp: config.ntp,
        port: config.ports.dhcp,
        pxe_port: config.ports.pxe,
        http_port: config.ports.http,
        leases: config.paths.state.join(leases::FILE),
    };
    dhcp::bind(settings, links, files.clone(), sightings.clone()).map(Some)
}

/// Keeps what was bound, or the reason why not, with the program that has the port.
fn keep<T>(problems: &mut Vec<String>, protocol: &str, port: u16, bound: Result<T>) -> Option<T> {
    let error = match bound {
        Ok(bound) => return Some(bound),
        Err(error) => error,
    };
    let holder = holder(protocol, port)
        .map(|program| format!("; {program} has it"))
        .unwrap_or_default();
    problems.push(format!("{error:#}{holder}"));
    None
}

/// A listener on all IPv4 addresses.
fn listen(port: u16) -> Result<TcpListener> {
    let bind = || -> std::io::Result<TcpListener> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        // A restart must not wait until the kernel has forgotten the connections of before.
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    bind().with_context(|| format!("binding TCP port {port}"))
}

/// The control socket. One that was left behind by a server that was killed is replaced; one that answers is not.
fn listen_on(path: &Path) -> Result<UnixListener> {
    if UnixStream::connect(path).is_ok() {
        bail!("another provisioner is running: it answers at {}", path.display());
    }
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        warn!(path = %path.display(), %error, "removing the socket of an earlier server");
    }
    // Made with its permissions: what has its name a moment later may be a link by the server's user, and this is root.
    let before = umask(Mode::from_bits_truncate(!CONTROL_MODE & 0o777));
    let listener = UnixListener::bind(path);
    umask(before);
    listener.with_context(|| format!("binding the control socket {}", path.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_socket_left_behind_is_replaced_and_one_in_use_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let first = listen_on(&path).unwrap();
        let error = listen_on(&path).unwrap_err().to_string();
        assert!(error.contains("another provisioner is running"), "{error}");
        drop(first);
        listen_on(&path).unwrap();
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            CONTROL_MODE
        );
    }

    #[test]
    fn a_port_that_is_taken_is_told_with_who_has_it() {
        let taken = listen(0).unwrap();
        let port = taken.local_addr().unwrap().port();
        let mut problems = Vec::new();
        assert!(keep(&mut problems, "tcp", port, listen(port)).is_none());
        let expected = format!("(process {}) has it", std::process::id());
        assert!(
            problems[0].contains(&format!("TCP port {port}")) && problems[0].contains(&expected),
            "{problems:?}"
        );
    }
}
