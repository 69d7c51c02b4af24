//! From an alert to what receivers got: payloads, outages, restarts, mail.

mod bench;
mod delivery;
mod formats;
mod mail;
mod slack;
