// SPDX-License-Identifier: Apache-2.0
//! A place where packages are fetched: a source of them (nginx with a small repository that this makes), the cache as
//! users run it, and installs: what apt and an installer fetch, by apt and curl.

mod mirror;
mod repository;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

pub use mirror::Mirror;
pub use repository::Repository;

use crate::lab::{Lab, SERVER, Wire};
use crate::peer::{self, Program};
use crate::space::Space;
use crate::wait::until;

/// The cache's port.
pub const PORT: u16 = 3142;
/// What the cache says, in the laboratory's folder.
const LOG: &str = "packages.log";
/// From start to the first answer.
const START: Duration = Duration::from_secs(30);
/// Bytes a second that the source sends on one connection: a download takes long enough that all others come while it
/// is under way.
const RATE: &str = "20m";
/// curl's and apt's own patience (seconds) on a machine that does fifty things at once.
const PATIENCE: &str = "120";

/// The source, the cache and a place for installs, each in its own network.
pub struct Market {
    /// The laboratory with the provisioner.
    pub lab: Lab,
    /// Where installs happen.
    pub wire: Wire,
    /// What there is.
    pub repository: Repository,
    source: Wire,
    nginx: Program,
    sends: Option<Child>,
    cache: Option<Cache>,
}

/// The cache of a laboratory; killed with all that it started when this is dropped.
pub struct Cache(Option<Child>);

impl Cache {
    /// Starts it beside the provisioner, as its unit does.
    pub fn start(lab: &mut Lab) -> Result<Self> {
        let nginx = peer::nginx()?;
        let folder = nginx.path().parent().context("nginx's folder")?.to_owned();
        let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(lab.folder().join(LOG))
            .context("opening the cache's log")?;
        let (server, space) = lab.server_and_space();
        let mut command = Command::new(server.program());
        command
            .arg("--config")
            .arg(server.config_file())
            .args(["packages", "serve"]);
        command.env("PATH", path).stdin(Stdio::null());
        command.stdout(log.try_clone().context("sharing the log")?).stderr(log);
        Ok(Self(Some(space.spawn(&mut command).context("starting the cache")?)))
    }

    /// Its processes, all.
    fn processes(&self) -> Vec<u32> {
        let mut all: Vec<u32> = self.0.iter().map(Child::id).collect();
        let mut next = 0;
        while let Some(pid) = all.get(next) {
            let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
            all.extend(list.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
            next += 1;
        }
        all
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        // Whoever is killed first is the one that could start others.
        for pid in self.processes() {
            let _ = i32::try_from(pid).map(|pid| kill(Pid::from_raw(pid), Signal::SIGKILL));
        }
        end(self.0.take(), Signal::SIGKILL);
    }
}

impl Market {
    /// Configured with these lines of `[packages]` besides its source and its folder; the provisioner runs, the source
    /// and the cache do not yet.
    pub fn new(lines: &str) -> Result<Self> {
        let mut lab = Lab::new()?;
        let (source, wire) = (lab.wire()?, lab.wire()?);
        let nginx = peer::nginx()?;
        let repository = Repository::new(&lab.folder().join("repository"))?;
        let mut market = Self {
            lab,
            wire,
            repository,
            source,
            nginx,
            sends: None,
            cache: None,
        };
        std::fs::create_dir_all(market.cache_folder()).context("making the cache's folder")?;
        market.configure(lines)?;
        market.lab.start_server()?;
        Ok(market)
    }

    /// Says other lines of `[packages]`; they count from the next start.
    pub fn configure(&mut self, lines: &str) -> Result<()> {
        let (url, folder) = (self.url(""), self.cache_folder());
        let sections = format!(
            "[packages]\nsources = [\"{url}\"]\nfolder = \"{}\"\n{lines}\n[dhcp]\nmode = \"full\"\n",
            folder.display()
        );
        self.lab.server().configure(&sections)
    }

    /// Where the cache keeps what it has.
    pub fn cache_folder(&self) -> PathBuf {
        self.lab.folder().join("packages")
    }

    /// The URL of a file of the source.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}/debian{path}", self.source.address())
    }

    /// The cache as a proxy.
    pub fn proxy() -> String {
        format!("http://{SERVER}:{PORT}")
    }

    /// The source begins to send.
    pub fn start_source(&mut self) -> Result<()> {
        let place = self.lab.folder().join("source");
        std::fs::create_dir_all(&place).context("making the source's folder")?;
        let config = place.join("nginx.conf");
        let text = format!(
            "user root;\ndaemon off;\nworker_processes 1;\npid {0}/pid;\nerror_log stderr crit;\n\
             events {{ worker_connections 1024; }}\n\
             http {{ log_format sent '$bytes_sent $request $http_authorization $http_cookie'; access_log {0}/sent.log sent; limit_rate {RATE};\n\
             client_body_temp_path {0}/b; proxy_temp_path {0}/p; fastcgi_temp_path {0}/f; uwsgi_temp_path {0}/u; scgi_temp_path {0}/s;\n\
             server {{ listen 80; location /debian/ {{ alias {1}/; }} }} }}\n",
            place.display(),
            self.repository.folder().display(),
        );
        std::fs::write(&config, text).context("writing the source's configuration")?;
        let mut command = self.nginx.command();
        command
            .arg("-p")
            .arg(&place)
            .arg("-e")
            .arg("stderr")
            .arg("-c")
            .arg(&config);
        command.stdin(Stdio::null());
        self.sends = Some(self.source.space().spawn(&mut command).context("starting the source")?);
        let at = SocketAddr::new(self.source.address().parse().context("the source's address")?, 80);
        answers(self.lab.space(), at).context("starting the source")
    }

    /// The source is gone.
    pub fn stop_source(&mut self) {
        end(self.sends.take(), Signal::SIGTERM);
    }

    /// What was asked of the source, a line each, with what it should not have been told.
    pub fn asked(&self) -> Result<String> {
        let log = self.lab.folder().join("source/sent.log");
        std::fs::read_to_string(log).context("reading what the source was asked")
    }

    /// Bytes that the source has sent, in all.
    pub fn sent(&self) -> Result<u64> {
        Ok(self
            .asked()?
            .lines()
            .filter_map(|line| line.split(' ').next()?.parse::<u64>().ok())
            .sum())
    }

    /// Starts the cache as its unit does.
    pub fn start_cache(&mut self) -> Result<()> {
        self.cache = Some(Cache::start(&mut self.lab)?);
        let at = SocketAddr::new(SERVER.parse().context("the server's address")?, PORT);
        answers(self.wire.space(), at).with_context(|| self.log())
    }

    /// Ends the cache as `systemctl stop`.
    pub fn stop_cache(&mut self) {
        if let Some(mut cache) = self.cache.take() {
            end(cache.0.take(), Signal::SIGTERM);
        }
    }

    /// SIGKILL for the cache and all that it started, as systemd or a pulled plug.
    pub fn kill_cache(&mut self) {
        self.cache = None;
    }

    /// The cache's processes, all.
    pub fn cache_processes(&self) -> Vec<u32> {
        self.cache.as_ref().map_or_else(Vec::new, Cache::processes)
    }

    /// What the cache and the server said.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.lab.folder().join(LOG)).unwrap_or_default()
    }

    /// One file through the cache: status and body.
    pub fn fetch(&self, url: &str, more: &[&str]) -> Result<(u16, Vec<u8>)> {
        let mut command = Command::new("curl");
        command.args(["-s", "-m", PATIENCE, "-x", &Self::proxy(), "-w", "\n%{http_code}"]);
        command.args(more).arg(url).stdin(Stdio::null());
        let output = self.wire.space().run(|| command.output())?.context("running curl")?;
        let mut body = output.stdout;
        let end = body
            .iter()
            .rposition(|byte| *byte == b'\n')
            .context("curl said nothing")?;
        let status = String::from_utf8_lossy(&body[end + 1..])
            .parse()
            .context("curl's status")?;
        body.truncate(end);
        Ok((status, body))
    }

    /// So many installs at once; each must get every file as it is.
    pub fn installs(&self, count: usize) -> Result<()> {
        let place = self.lab.folder().join("installs");
        // Of earlier ones nothing is left that would spare them a download.
        let _ = std::fs::remove_dir_all(&place);
        let mut running = Vec::new();
        for number in 0..count {
            let folder = place.join(number.to_string());
            running.push((self.start_install(&folder)?, folder));
        }
        for (mut install, folder) in running {
            let status = install.wait().context("waiting for an install")?;
            let said = || std::fs::read_to_string(folder.join("log")).unwrap_or_default();
            ensure!(status.success(), "an install failed: {}\n{}", said(), self.log());
            self.repository.compare(&folder.join("got"))?;
        }
        Ok(())
    }

    /// What an installer fetches by its own means, then what apt does.
    fn start_install(&self, folder: &Path) -> Result<Child> {
        let got = folder.join("got");
        for name in ["got", "apt/lists/partial", "apt/cache/archives/partial", "apt/etc"] {
            std::fs::create_dir_all(folder.join(name)).context("making an install's folder")?;
        }
        let list = format!("deb [trusted=yes] {} stable main\n", self.url(""));
        std::fs::write(folder.join("apt/sources.list"), list).context("writing sources.list")?;
        let apt = folder.join("apt");
        let options = [
            format!("Dir::Etc={}/etc", apt.display()),
            format!("Dir::Etc::sourcelist={}/sources.list", apt.display()),
            format!("Dir::State={}", apt.display()),
            "Dir::State::status=/dev/null".into(),
            format!("Dir::Cache={}/cache", apt.display()),
            "APT::Architecture=amd64".into(),
            "APT::Sandbox::User=root".into(),
            format!("Acquire::http::Proxy={}", Self::proxy()),
            format!("Acquire::http::Timeout={PATIENCE}"),
        ];
        let options = options.iter().fold(String::new(), |all, option| all + " -o " + option);
        let (packages, others) = (self.repository.packages().join(" "), self.repository.others());
        let urls = others
            .iter()
            .fold(String::new(), |all, path| all + " -O " + &self.url(path));
        let script = format!(
            "cd {} && curl -sSf -m {PATIENCE} -x {}{urls} && apt-get -q{options} update && apt-get -q{options} download {packages}",
            got.display(),
            Self::proxy(),
        );
        let log = std::fs::File::create(folder.join("log")).context("making an install's log")?;
        let mut command = Command::new("sh");
        command.args(["-ec", &script]).env("LC_ALL", "C").stdin(Stdio::null());
        command.stdout(log.try_clone().context("sharing a log")?).stderr(log);
        self.wire.space().spawn(&mut command).context("starting an install")
    }
}

impl Drop for Market {
    fn drop(&mut self) {
        self.kill_cache();
        self.stop_source();
    }
}

fn answers(from: &Space, at: SocketAddr) -> Result<()> {
    until("an answer", START, || {
        let connected = from.run(|| std::net::TcpStream::connect_timeout(&at, START))?;
        Ok(connected.ok().map(drop))
    })
}

fn end(child: Option<Child>, how: Signal) {
    let Some(mut child) = child else { return };
    if let Ok(pid) = i32::try_from(child.id()) {
        let _ = kill(Pid::from_raw(pid), how);
    }
    let _ = child.wait();
}
