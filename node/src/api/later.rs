//! Routes of the contract that come with later versions: each says so.

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::Problem;
use super::{App, openapi};

/// Makes handlers that answer 501, one for each method and path.
macro_rules! later {
    ($($name:ident: $method:ident $path:literal $what:literal;)*) => {
        $(
            #[doc = concat!($what, " comes with a later version; until then the answer is 501.")]
            #[utoipa::path(
                $method, path = $path, tag = "later", summary = $what,
                description = "Comes with a later version; until then the answer is 501.", responses(openapi::Later)
            )]
            async fn $name() -> Problem {
                Problem::later($what)
            }
        )*
    };
}

later! {
    challenges: post "/api/v1/challenges" "Wallet login";
    sessions: post "/api/v1/sessions" "Wallet login";
    tokens_get: get "/api/v1/tokens" "Named tokens";
    tokens_post: post "/api/v1/tokens" "Named tokens";
    tokens_delete: delete "/api/v1/tokens/{name}" "Named tokens";
    wallets_get: get "/api/v1/wallets" "Permissions of wallets";
    wallets_post: post "/api/v1/wallets" "Permissions of wallets";
    wallets_delete: delete "/api/v1/wallets/{address}" "Permissions of wallets";
}

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(challenges))
        .routes(routes!(sessions))
        .routes(routes!(tokens_get, tokens_post))
        .routes(routes!(tokens_delete))
        .routes(routes!(wallets_get, wallets_post))
        .routes(routes!(wallets_delete))
}
