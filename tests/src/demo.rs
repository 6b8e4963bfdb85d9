// SPDX-License-Identifier: Apache-2.0
//! What `make demo` shows: a picture of two PCs on their way, and a way from the host to the status page.

pub mod forward;
pub mod picture;
