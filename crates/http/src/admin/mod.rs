//! The admin API, `/v1/admin/*` (`spec/cloud/admin.md`). One file a resource.

use crate::route::Route;

pub(crate) const ROUTES: &[&[Route]] = &[];
