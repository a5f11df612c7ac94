//! Values of tags, listed.

use duologue_model::PageSize;
use duologue_store::{page::PageRequest, tag_index::Tagged};

use crate::{contract, refusal};

contract! {
    async fn values_are_distinct_ascending_and_paged(bed: Bed) {
        for index in 0..30 {
            bed.user(&[("team", &format!("t{:02}", index % 7)), ("Ä:ö", "x")]).await;
        }
        let mut page = PageRequest { size: PageSize::new(3), after: None };
        let mut values = Vec::new();
        loop {
            let part = bed.store.list_tag_values(bed.who(), Tagged::User, "team".into(), page.clone()).await.unwrap();
            values.extend(part.items);
            match part.next {
                Some(next) => page.after = Some(next),
                None => break,
            }
        }
        assert_eq!(values, ["t00", "t01", "t02", "t03", "t04", "t05", "t06"]);
        let odd = bed.store.list_tag_values(bed.who(), Tagged::User, "Ä:ö".into(), PageRequest::default()).await.unwrap();
        assert_eq!(odd.items, ["x"]);
        let none = bed.store.list_tag_values(bed.who(), Tagged::Message, "team".into(), PageRequest::default()).await.unwrap();
        assert!(none.items.is_empty());
        let refused = bed.store.list_tag_values(bed.integration("x"), Tagged::User, "team".into(), PageRequest::default()).await;
        assert_eq!(refusal(refused), "Forbidden");
    }
}
