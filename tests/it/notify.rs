//! From an alert to what receivers got: payloads, outages, restarts, mail.

mod bench;
mod clicks;
mod delivery;
mod digest;
mod formats;
mod hostile;
mod issues;
mod mail;
mod revoked;
mod services;
mod slack;
mod types;
