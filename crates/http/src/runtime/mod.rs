//! The runtime API, `/v1/chat/*` (`spec/cloud/runtime.md`). One file a resource.

mod actions;
mod analytics;
pub(crate) mod conversations;
mod creation;
mod events;
mod import;
mod initialize;
mod integrations;
mod messages;
mod participants;
mod states;
mod tags;
mod tasks;
mod transcript;
mod users;
mod workflows;

use crate::route::Route;

pub(crate) const ROUTES: &[&[Route]] = &[
    actions::ROUTES,
    analytics::ROUTES,
    conversations::ROUTES,
    events::ROUTES,
    import::ROUTES,
    initialize::ROUTES,
    integrations::ROUTES,
    messages::ROUTES,
    participants::ROUTES,
    states::ROUTES,
    tags::ROUTES,
    tasks::ROUTES,
    transcript::ROUTES,
    users::ROUTES,
    workflows::ROUTES,
];
