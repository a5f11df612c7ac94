//! `/v1/assets`: icons and readmes, at the addresses that `iconUrl` and `readmeUrl` name
//! (`spec/cloud/admin.md` § 6). Anybody who knows an address may read them.

use duologue_store::integrations::Asset;
use http::{HeaderValue, header};

use crate::{
    call::{self, Call},
    route::{Answer, Route},
};

pub(crate) const ROUTES: &[Route] = &[
    route!(Public GET "/v1/assets/integrations/{id}/icon" getIntegrationIcon icon),
    route!(Public GET "/v1/assets/integrations/{id}/readme" getIntegrationReadme readme),
];

async fn icon(call: Call) -> Answer {
    serve(&call, Asset::Icon, "image/svg+xml").await
}

async fn readme(call: Call) -> Answer {
    serve(&call, Asset::Readme, "text/markdown; charset=utf-8").await
}

/// These files come from whoever deployed them: a browser that opens one runs nothing in it.
async fn serve(call: &Call, asset: Asset, media_type: &'static str) -> Answer {
    let bytes = call.app.store.integration_asset(call.param(0), asset).await?;
    let mut response = call::plain(media_type, bytes)?;
    let headers = response.headers_mut();
    let policy = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; sandbox");
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    Ok(response)
}
