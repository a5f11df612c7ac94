//! tmp
pub mod condition;
pub mod js;
pub mod template;
pub mod value;
