//! `/v1/admin/account` (`spec/cloud/admin.md` § 3).

use duologue_model::{
    Json,
    admin::{Account, Key},
};
use duologue_store::account::{MAX_DISPLAY_NAME, Update};
use serde::{Deserialize, Serialize};

use super::{Preference, note};
use crate::{
    body::Nothing,
    call::{self, Call},
    route::{Answer, Route},
};

pub(crate) const ROUTES: &[Route] = &[
    route!(Admin GET "/v1/admin/account/me" getAccount get),
    route!(Admin PUT "/v1/admin/account/me" updateAccount update),
    route!(Admin POST "/v1/admin/account/me" deleteAccount delete),
    route!(Admin GET "/v1/admin/account/pats" listPersonalAccessTokens list_pats),
    route!(Admin POST "/v1/admin/account/pats" createPersonalAccessToken create_pat),
    route!(Admin DELETE "/v1/admin/account/pats/{id}" deletePersonalAccessToken delete_pat),
    route!(Admin POST "/v1/admin/account/preferences/{key}" setAccountPreference set_preference),
    route!(Admin GET "/v1/admin/account/preferences/{key}" getAccountPreference get_preference),
];

#[derive(Serialize)]
struct One {
    account: Account,
}

async fn get(call: Call) -> Answer {
    let account = call.app.store.get_account(call.account()?.to_owned()).await?;
    call::ok(&One { account })
}

async fn update(call: Call) -> Answer {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Body {
        display_name: Option<String>,
        profile_picture: Option<String>,
    }
    let body: Body = call.json()?;
    call::text("displayName", body.display_name.as_deref().unwrap_or_default(), MAX_DISPLAY_NAME)?;
    call::text("profilePicture", body.profile_picture.as_deref().unwrap_or_default(), 40_000)?;
    let update = Update {
        account: call.account()?.to_owned(),
        display_name: body.display_name,
        profile_picture: body.profile_picture,
    };
    let account = call.app.store.update_account(update).await?;
    call::ok(&One { account })
}

async fn delete(call: Call) -> Answer {
    let account = call.account()?.to_owned();
    call.json::<Nothing>()?;
    call.app.store.delete_account(account).await?;
    call::empty()
}

async fn list_pats(call: Call) -> Answer {
    #[derive(Serialize)]
    struct Pats {
        pats: Vec<Key>,
    }
    let pats = call.app.store.list_pats(call.account()?.to_owned()).await?;
    call::ok(&Pats { pats })
}

async fn create_pat(call: Call) -> Answer {
    #[derive(Deserialize)]
    struct Body {
        note: String,
    }
    #[derive(Serialize)]
    struct Pat {
        pat: Key,
    }
    let account = call.account()?.to_owned();
    let body: Body = call.json()?;
    note(&body.note)?;
    let pat = call.app.store.create_pat(account, body.note).await?;
    call::ok(&Pat { pat })
}

async fn delete_pat(call: Call) -> Answer {
    call.app.store.delete_pat(call.account()?.to_owned(), call.param(0)).await?;
    call::empty()
}

async fn get_preference(call: Call) -> Answer {
    let value = call.app.store.account_preference(call.account()?.to_owned(), call.param(0)).await?;
    call::ok(&Preference { value: Some(value) })
}

async fn set_preference(call: Call) -> Answer {
    let account = call.account()?.to_owned();
    let body: Preference = call.json()?;
    let value = body.value.unwrap_or_else(|| Json::of(&()));
    call.app.store.set_account_preference(account, call.param(0), value).await?;
    call::empty()
}
