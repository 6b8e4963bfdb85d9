// SPDX-License-Identifier: Apache-2.0
//! Everything that is said to libvirt: ensure what guests need, then look. Doing it again changes nothing.

use anyhow::Context;
use provisioner_api::{Hypervisor, StoragePool as Pool};
use virt::connect::Connect;
use virt::network::Network;
use virt::storage_pool::StoragePool;
use virt_sys as sys;

use super::{Offer, capabilities};

/// The system's hypervisor, for all users of it alike.
const SYSTEM: &str = "qemu:///system";

/// The name that every tool of libvirt tries first.
const POOL: &str = "default";
/// Where distributions keep it, so that their security policies fit.
const POOL_FOLDER: &str = "/var/lib/libvirt/images";
const POOL_XML: &str = "<pool type='dir'><name>default</name>\
                        <target><path>/var/lib/libvirt/images</path></target></pool>";

/// Guests name this network and need not know how the host's bridge is called.
const NETWORK: &str = "gleaner";

/// Connects, ensures, looks. `kvm`: whether the kernel really runs virtual machines.
pub fn offer(kvm: bool, bridge: Option<&str>) -> anyhow::Result<Offer> {
    // libvirt prints every error to stderr by itself; ours carry them.
    virt::error::clear_error_callback();
    let conn = Connect::open(Some(SYSTEM)).with_context(|| format!("connecting to {SYSTEM}"))?;
    let found = look(&conn, kvm)?;
    let storage = pool(&conn).map_err(|e| format!("{e:#}"));
    let network = bridge
        .map(|bridge| network(&conn, bridge))
        .transpose()
        .map_err(|e| format!("{e:#}"));
    Ok(Offer {
        storage,
        network,
        ..found
    })
}

fn look(conn: &Connect, kvm: bool) -> anyhow::Result<Offer> {
    let host = conn
        .get_capabilities()
        .context("asking libvirt what this host can do")?;
    // libvirt offers KVM when /dev/kvm can be opened; whether it works is another question, which `kvm` answers.
    let kinds = if kvm { ["kvm", "qemu"] } else { ["qemu", "kvm"] };
    let kind = kinds
        .into_iter()
        .find(|kind| (kvm || *kind == "qemu") && capabilities::offers(&host, kind));
    let kind = kind.context("libvirt offers no x86-64 guests on this host; is qemu-system-x86 installed?")?;
    let xml = conn
        .get_domain_capabilities(None, Some("x86_64"), None, Some(kind), 0)
        .with_context(|| format!("asking libvirt about {kind} guests"))?;
    let info = conn.get_node_info().context("asking libvirt for the processors")?;
    let hypervisor = Hypervisor {
        name: conn.get_type().context("asking libvirt for its driver")?,
        version: capabilities::version(conn.get_hyp_version().context("asking for QEMU's version")?.into()),
        libvirt: capabilities::version(conn.get_lib_version().context("asking for libvirt's version")?.into()),
        virtualization: kind.into(),
    };
    Ok(Offer {
        hypervisor,
        cpu_model: capabilities::domain(&xml).host_model.unwrap_or_else(|| "qemu64".into()),
        threads: info.cpus,
        storage: Err("not examined".into()),
        network: Ok(None),
    })
}

fn pool(conn: &Connect) -> anyhow::Result<Pool> {
    let pool = match StoragePool::lookup_by_name(conn, POOL) {
        Ok(pool) => pool,
        Err(e) if e.code() == virt::error::ErrorNumber::NoStoragePool => {
            std::fs::create_dir_all(POOL_FOLDER).with_context(|| format!("making {POOL_FOLDER}"))?;
            StoragePool::define_xml(conn, POOL_XML, 0).context("defining the storage pool")?
        }
        Err(e) => return Err(e).context("looking for the storage pool"),
    };
    if !pool.is_active().context("asking for the storage pool's state")? {
        pool.create(sys::VIR_STORAGE_POOL_CREATE_WITH_BUILD)
            .context("starting the storage pool")?;
    }
    if !pool.get_autostart().unwrap_or(false) {
        pool.set_autostart(true)
            .context("making the storage pool start by itself")?;
    }
    let info = pool.get_info().context("measuring the storage pool")?;
    // The operator may have moved the pool to another disk: what counts is where it is.
    let xml = pool.get_xml_desc(0).unwrap_or_default();
    let path = xml
        .split_once("<path>")
        .and_then(|(_, rest)| rest.split_once("</path>"))
        .map_or(POOL_FOLDER, |(p, _)| p);
    Ok(Pool {
        name: POOL.into(),
        path: path.into(),
        capacity: info.capacity,
        available: info.available,
    })
}

fn network(conn: &Connect, bridge: &str) -> anyhow::Result<String> {
    let plugged = |network: &Network| network.get_bridge_name().is_ok_and(|name| name == bridge);
    let network = match Network::lookup_by_name(conn, NETWORK) {
        Ok(network) if plugged(&network) => network,
        Ok(other) => {
            // Another bridge than before. Guests that run keep their plug; new ones get the right one.
            if other.is_active().unwrap_or(false) {
                other.destroy().context("stopping the network of the old bridge")?;
            }
            other.undefine().context("removing the network of the old bridge")?;
            define(conn, bridge)?
        }
        Err(e) if e.code() == virt::error::ErrorNumber::NoNetwork => define(conn, bridge)?,
        Err(e) => return Err(e).context("looking for the guests' network"),
    };
    if !network.is_active().context("asking for the guests' network's state")? {
        network.create().context("starting the guests' network")?;
    }
    if !network.get_autostart().unwrap_or(false) {
        network
            .set_autostart(true)
            .context("making the guests' network start by itself")?;
    }
    Ok(NETWORK.into())
}

/// The bridge's name has passed [`crate::bridge::Plan`]: letters, digits, dashes.
fn define(conn: &Connect, bridge: &str) -> anyhow::Result<Network> {
    let xml = format!("<network><name>{NETWORK}</name><forward mode='bridge'/><bridge name='{bridge}'/></network>");
    Network::define_xml(conn, &xml).context("defining the guests' network")
}
