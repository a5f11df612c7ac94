//! `/v1/admin/interfaces` (`spec/cloud/admin.md` § 7).

use duologue_store::catalog::interfaces::Definition;

use super::products::{create, delete, get, get_by_name, list, update};
use crate::route::Route;

pub(crate) const ROUTES: &[Route] = &[
    route!(Admin POST "/v1/admin/interfaces" createInterface create::<Definition>),
    route!(Admin GET "/v1/admin/interfaces" listInterfaces list::<Definition>),
    route!(Admin GET "/v1/admin/interfaces/{id}" getInterface get::<Definition>),
    route!(Admin PUT "/v1/admin/interfaces/{id}" updateInterface update::<Definition>),
    route!(Admin DELETE "/v1/admin/interfaces/{id}" deleteInterface delete::<Definition>),
    route!(Admin GET "/v1/admin/interfaces/{name}/{version}" getInterfaceByName get_by_name::<Definition>),
];
