//! `/v1/assets`: icons and readmes, at the addresses that `iconUrl` and `readmeUrl` name
//! (`spec/cloud/admin.md` § 6). Anybody who knows an address may read them.

use duologue_store::{
    catalog::{Product, interfaces, plugins},
    integrations::Asset,
};
use http::{HeaderValue, header};

use crate::{
    call::{self, Call},
    route::{Answer, Route},
};

pub(crate) const ROUTES: &[Route] = &[
    route!(Public GET "/v1/assets/integrations/{id}/icon" getIntegrationIcon icon),
    route!(Public GET "/v1/assets/integrations/{id}/readme" getIntegrationReadme readme),
    route!(Public GET "/v1/assets/interfaces/{id}/icon" getInterfaceIcon interface_icon),
    route!(Public GET "/v1/assets/interfaces/{id}/readme" getInterfaceReadme interface_readme),
    route!(Public GET "/v1/assets/plugins/{id}/icon" getPluginIcon plugin_icon),
    route!(Public GET "/v1/assets/plugins/{id}/readme" getPluginReadme plugin_readme),
];

async fn icon(call: Call) -> Answer {
    serve(Asset::Icon, call.app.store.integration_asset(call.param(0), Asset::Icon).await?)
}

async fn readme(call: Call) -> Answer {
    serve(Asset::Readme, call.app.store.integration_asset(call.param(0), Asset::Readme).await?)
}

async fn interface_icon(call: Call) -> Answer {
    product::<interfaces::Definition>(&call, Asset::Icon).await
}

async fn interface_readme(call: Call) -> Answer {
    product::<interfaces::Definition>(&call, Asset::Readme).await
}

async fn plugin_icon(call: Call) -> Answer {
    product::<plugins::Definition>(&call, Asset::Icon).await
}

async fn plugin_readme(call: Call) -> Answer {
    product::<plugins::Definition>(&call, Asset::Readme).await
}

async fn product<D: Product>(call: &Call, asset: Asset) -> Answer {
    serve(asset, call.app.store.product_asset::<D>(call.param(0), asset).await?)
}

/// These files come from whoever deployed them: a browser that opens one runs nothing in it.
fn serve(asset: Asset, bytes: Vec<u8>) -> Answer {
    let media_type = match asset {
        Asset::Icon => "image/svg+xml",
        Asset::Readme => "text/markdown; charset=utf-8",
    };
    let mut response = call::plain(media_type, bytes)?;
    let headers = response.headers_mut();
    let policy = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; sandbox");
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    Ok(response)
}
