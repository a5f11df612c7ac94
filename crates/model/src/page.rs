//! Pages of a list (`spec/cloud/runtime.md` § 3).

use serde::{Deserialize, Serialize};

/// How many items a page holds: 20 when nothing is said, 1 to 100 otherwise; larger requests are
/// clamped, not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageSize(u32);

impl PageSize {
    /// The most items a page holds.
    pub const MAX: u32 = 100;

    /// The requested size, clamped to 1..=100.
    pub fn new(requested: i64) -> Self {
        PageSize(requested.clamp(1, i64::from(Self::MAX)) as u32)
    }

    /// The number.
    pub fn get(self) -> usize {
        self.0 as usize
    }
}

impl Default for PageSize {
    fn default() -> Self {
        PageSize(20)
    }
}

/// What follows the items of a page. Always present, also when empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Meta {
    /// Present only if there is at least one more item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}
