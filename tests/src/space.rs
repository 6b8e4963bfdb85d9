// SPDX-License-Identifier: Apache-2.0
//! A private network, mount and process namespace that cannot outlive the program that made it.
//!
//! The namespaces have no name in the file system: they live by the file descriptors held here and by the
//! processes inside. The first process inside (its `init`) ends when its standard input does, which is when this
//! program drops the [`Space`] or dies, however it dies; the kernel then kills every process inside and
//! takes interfaces and mounts with them. So there is nothing to clean up and nothing that can be forgotten.

use std::fs::File;
use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::fchdir;

/// What mount(2) does not look at.
const NOTHING: Option<&str> = None;
/// The mount namespace of whoever asks.
const OWN_MOUNTS: &str = "/proc/thread-self/ns/mnt";

/// Private namespaces and what runs in them.
pub struct Space {
    net: File,
    mounts: File,
    processes: File,
    pid: u32,
    init: Option<Child>,
    lifeline: Option<ChildStdin>,
}

impl Space {
    /// Makes the namespaces: a network with nothing but `lo`, a `/sys` that shows it, no other process.
    pub fn new() -> Result<Self> {
        ensure!(
            nix::unistd::geteuid().is_root(),
            "the laboratory needs root for its private networks (sudo make test)"
        );
        let space = on_own_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID)
                .context("making private namespaces")?;
            keep_mounts().context("keeping mounts of the laboratory to itself")?;
            mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), NOTHING)
                .context("showing the private network in /sys")?;
            let mut init = Command::new("cat")
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .spawn()
                .context("starting the first process of the laboratory")?;
            let lifeline = init.stdin.take();
            let open = |name: &str| {
                let path = format!("/proc/thread-self/ns/{name}");
                File::open(&path).with_context(|| format!("opening {path}"))
            };
            Ok(Self {
                net: open("net")?,
                mounts: open("mnt")?,
                processes: open("pid_for_children")?,
                pid: init.id(),
                init: Some(init),
                lifeline,
            })
        })?;
        space.ip("link set lo up")?;
        Ok(space)
    }

    /// Runs `work` inside: the sockets it opens, the threads and programs it starts belong to the space.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        on_own_thread(|| {
            self.enter()?;
            Ok(work())
        })
    }

    /// Starts a program inside. It ends with the space at the latest.
    pub fn spawn(&self, command: &mut Command) -> Result<Child> {
        on_own_thread(|| {
            self.enter()?;
            // Only for children of this thread: a thread cannot move itself, nor start threads, once this is set.
            setns(self.processes.as_fd(), CloneFlags::CLONE_NEWPID).context("entering the process namespace")?;
            command
                .spawn()
                .with_context(|| format!("starting {}", command.get_program().display()))
        })
    }

    /// Runs a short program inside to its end and returns what it printed; fails with its complaint if it failed.
    pub fn run_program(&self, command: &mut Command) -> Result<String> {
        let output = self
            .run(|| command.stdin(Stdio::null()).output())?
            .with_context(|| format!("running {}", command.get_program().display()))?;
        if !output.status.success() {
            bail!(
                "{command:?} ended with {}: {}",
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// `ip ARGUMENTS`, separated by blanks.
    pub fn ip(&self, arguments: &str) -> Result<()> {
        self.run_program(Command::new("ip").args(arguments.split_whitespace()))
            .map(drop)
    }

    /// A way to connect into the space that can be given away.
    pub fn door(&self) -> Result<Door> {
        Ok(Door {
            net: self.net.try_clone().context("sharing the network namespace")?,
        })
    }

    /// The process whose `/proc/PID/ns` shows this space, for `nsenter` by hand.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    fn enter(&self) -> Result<()> {
        // setns(2): a thread that shares its root and working directory with others cannot change mount namespaces.
        unshare(CloneFlags::CLONE_FS).context("separating the working directory")?;
        setns(self.net.as_fd(), CloneFlags::CLONE_NEWNET).context("entering the network namespace")?;
        enter_mounts(&self.mounts)
    }
}

/// Makes everything that is mounted in this thread's new mount namespace its own affair.
fn keep_mounts() -> Result<()> {
    let private = || mount(NOTHING, "/", NOTHING, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NOTHING);
    match private() {
        // In a chroot(2) the root folder is no mount, and entering the namespace again would lead out of it: what was
        // the root for this program becomes the root of the namespace.
        Err(Errno::EINVAL) => {
            let root = File::open("/")?;
            enter_mounts(&File::open(OWN_MOUNTS)?)?;
            private()?;
            fchdir(&root)?;
            mount(Some("."), "/", NOTHING, MsFlags::MS_BIND | MsFlags::MS_REC, NOTHING)?;
            enter_mounts(&File::open(OWN_MOUNTS)?)
        }
        done => Ok(done?),
    }
}

/// Moves this thread, with its root and working directory, into a mount namespace.
fn enter_mounts(mounts: &File) -> Result<()> {
    setns(mounts, CloneFlags::CLONE_NEWNS).context("entering the mount namespace")
}

/// A way to connect into a space. It keeps the network there, not what runs in it.
pub struct Door {
    net: File,
}

impl Door {
    /// Connects to an address inside.
    pub fn connect(&self, to: SocketAddr) -> Result<TcpStream> {
        on_own_thread(|| {
            setns(self.net.as_fd(), CloneFlags::CLONE_NEWNET).context("entering the network namespace")?;
            TcpStream::connect(to).with_context(|| format!("connecting to {to}"))
        })
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        // The kernel kills all others at once, but lets the namespace's init end only when whoever started them has
        // waited for each (pid_namespaces(7)), which may come after this.
        if let Some(mut init) = self.init.take() {
            std::thread::spawn(move || init.wait());
        }
    }
}

/// Namespaces are a thread's own: what changes them runs on a thread that ends right after.
fn on_own_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| match scope.spawn(work).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// Connects two spaces by a cable: an interface of the given name in each.
pub fn cable(a: &Space, a_name: &str, b: &Space, b_name: &str) -> Result<()> {
    let pid = b.pid;
    a.ip(&format!("link add {a_name} type veth peer name {b_name} netns {pid}"))?;
    a.ip(&format!("link set {a_name} up"))?;
    b.ip(&format!("link set {b_name} up"))
}

/// What `/proc` says of namespaces that hold a process: `net:[4026532000]` and how many processes are in each.
pub fn processes_in(namespace: &str) -> Result<usize> {
    let mut count = 0;
    for entry in std::fs::read_dir("/proc").context("reading /proc")?.flatten() {
        let link = entry.path().join("ns/net");
        if std::fs::read_link(link).is_ok_and(|name| name.to_string_lossy() == namespace) {
            count += 1;
        }
    }
    Ok(count)
}

/// Reads a small file, `None` if it is not there.
pub fn read_if_there(path: &std::path::Path) -> Option<String> {
    let mut text = String::new();
    File::open(path).ok()?.read_to_string(&mut text).ok()?;
    Some(text)
}
