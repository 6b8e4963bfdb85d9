// SPDX-License-Identifier: Apache-2.0
//! Down and up again. From where the machine then starts is what the controller answers to its firmware.

use std::time::Duration;

use provisioner_api::{Event, RebootInto};

use super::report::Reporter;
use crate::host::Host;
use crate::screen::Screen;

/// So that a person sees why.
const GLIMPSE: Duration = Duration::from_secs(2);

/// Says so, here and there, and goes.
pub fn run(host: &dyn Host, reporter: &mut Reporter<'_>, into: RebootInto, why: &str, screen: &Screen) {
    let from = match into {
        RebootInto::Disk => "from its disk",
        RebootInto::Network => "from the network",
    };
    screen.stage("Rebooting", &format!("{why}. The machine starts again {from}."));
    reporter.event(Event::Rebooting);
    host.sleep(GLIMPSE);
    host.reboot();
}
