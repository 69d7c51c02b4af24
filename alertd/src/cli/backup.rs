//! `backup --to DIR`: a copy of all samples and state of a running alertd.
#![expect(clippy::print_stdout, reason = "a command line prints")]

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use serde_json::json;

use super::running::{Running, beside, text};
use crate::backup::{Manifest, folder, move_folder, snapshot};
use crate::clock;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Runs on alertd's host, as a user who may read its data directory. On the file system of the data
directory the backup shares the disk space of blocks, which never change, with the store: copy it
elsewhere if the disk may die. The operator token is not in it; `restore` brings it back.")]
pub struct Args {
    /// Where the backup goes; the folder must not be there yet
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    #[command(flatten)]
    running: Running,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (to, data_dir) = (&args.to, args.running.data_dir());
    let is_there = fs::symlink_metadata(to).is_ok();
    // An empty folder, made to say where, does no harm.
    if is_there && fs::remove_dir(to).is_err() {
        bail!("{} is there already: a backup goes into a folder of its own", to.display());
    }
    let answer = args.running.order("api/admin/snapshot", json!({})).await?;
    let name = text(&answer, "name");
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_hexdigit() || c == '-') {
        bail!("{} gave no snapshot but {answer}", args.running.url);
    }
    let made = data_dir.join(snapshot::FOLDER).join(name);
    if !made.is_dir() {
        bail!(
            "{} made a snapshot that is not at {}: name its data directory with --data-dir",
            args.running.url,
            made.display()
        );
    }
    let part = beside(to, ".part");
    folder::delete(&part)?;
    move_folder(&made, &part)?;
    let manifest = Manifest::write(&part, clock::now())?;
    fs::rename(&part, to).with_context(|| format!("cannot rename {}", part.display()))?;
    let parent = to.components().as_path().parent().filter(|path| !path.as_os_str().is_empty());
    folder::sync(parent.unwrap_or(".".as_ref()))?;
    let bytes: u64 = manifest.files.iter().map(|file| file.bytes).sum();
    println!("{}: {} files, {} MiB", to.display(), manifest.files.len(), bytes >> 20);
    Ok(ExitCode::SUCCESS)
}
