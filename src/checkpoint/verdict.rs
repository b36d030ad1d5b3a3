//! What a check found, and how far it looked.

use std::fmt;
use std::io;

use serde::{Deserialize, Serialize};

/// How much of a checkpoint is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// Kinds, sizes and structure; a manifest's names and sizes.
    Quick,
    /// Everything: the checksums inside the formats and those of a manifest.
    Deep,
}

/// What has been proved of a checkpoint: the weakest proof among the files that hold its state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Proof {
    /// Nothing was looked at.
    #[default]
    #[serde(rename = "none")]
    None,
    /// L0: regular files, not empty, no placeholder, no holes.
    #[serde(rename = "L0")]
    Kind,
    /// L1: the format's own structure adds up to the file's size.
    #[serde(rename = "L1")]
    Structure,
    /// L2: the checksums inside the format match.
    #[serde(rename = "L2")]
    Checksums,
    /// L3: every file matches its digest in a manifest.
    #[serde(rename = "L3")]
    Manifest,
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::None => "-",
            Self::Kind => "L0 size",
            Self::Structure => "L1 structure",
            Self::Checksums => "L2 checksums",
            Self::Manifest => "L3 manifest",
        })
    }
}

/// Why a file or a checkpoint isn't good.
#[derive(Debug)]
pub enum Fault {
    /// It is provably damaged or incomplete.
    Broken(String),
    /// It may be damaged, and nothing proves it whole.
    Suspect(String),
    /// It couldn't be judged.
    Unread(String),
}

/// A check's outcome.
pub type Checked<T = Passed> = Result<T, Fault>;

/// What a passed check proved, and what else is worth saying.
#[derive(Debug, Default)]
pub struct Passed {
    /// How far it looked.
    pub proof: Proof,
    /// Oddities that are no damage.
    pub notes: Vec<String>,
}

impl Passed {
    /// A proof without remarks.
    #[must_use]
    pub const fn at(proof: Proof) -> Self {
        Self { proof, notes: Vec::new() }
    }

    /// The same with a remark.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }
}

/// A broken file, said why.
///
/// # Errors
/// Always: it is one.
pub fn broken<T>(why: impl Into<String>) -> Checked<T> {
    Err(Fault::Broken(why.into()))
}

impl From<io::Error> for Fault {
    /// The end of the data where more was promised is damage; any other error says nothing about the file.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Broken("it ends early".to_owned()),
            _ => Self::Unread(error.to_string()),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Broken(why) | Self::Suspect(why) | Self::Unread(why)) = self;
        f.write_str(why)
    }
}

/// What is believed of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It passed every check that was asked for.
    Good,
    /// It may be damaged: no keep slot, and never removed for it.
    Suspect,
    /// It is damaged or incomplete.
    Broken,
    /// Somebody is writing it.
    Unfinished,
    /// It couldn't be judged, or wasn't.
    Unread,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Good => "good",
            Self::Suspect => "suspect",
            Self::Broken => "broken",
            Self::Unfinished => "unfinished",
            Self::Unread => "unread",
        })
    }
}

/// The verdict on one checkpoint.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// What is believed.
    pub verdict: Verdict,
    /// How far the checks looked, where it is good.
    pub proof: Proof,
    /// What kind of checkpoint it was taken for.
    pub layout: &'static str,
    /// Why it isn't good; empty when it is.
    pub why: String,
    /// Oddities.
    pub notes: Vec<String>,
}

impl Judgement {
    /// A verdict that rests on no check of the content.
    #[must_use]
    pub const fn plain(verdict: Verdict, why: String) -> Self {
        Self { verdict, proof: Proof::None, layout: "", why, notes: Vec::new() }
    }
}
