// SPDX-License-Identifier: Apache-2.0
//! Output put together again, with a notice wherever text is missing.

use code_mode_api::ContentItem;

use crate::bounded::Gap;

/// Notices that stand at their places. Where there would be more, one at the end says it all.
const MAX_NOTICES: usize = 4;

/// Output that grows item by item.
#[derive(Default)]
pub(crate) struct Assembly(Vec<Piece>);

enum Piece {
    Item(ContentItem),
    /// A text, and the places inside of it at which text is missing, in their order.
    Text(String, Vec<(usize, Gap)>),
    Gap(Gap),
}

impl Assembly {
    /// Adds an item in which nothing is missing.
    pub(crate) fn item(&mut self, item: ContentItem) {
        self.0.push(Piece::Item(item));
    }

    /// Adds a text with what is missing inside of it.
    pub(crate) fn text(&mut self, text: String, gaps: Vec<(usize, Gap)>) {
        self.0.push(Piece::Text(text, gaps));
    }

    /// Adds that text is missing here.
    pub(crate) fn gap(&mut self, gap: Gap) {
        self.0.push(Piece::Gap(gap));
    }

    /// The items.
    pub(crate) fn finish(self) -> Vec<ContentItem> {
        let (notices, all) = self.notices();
        let at_their_places = notices <= MAX_NOTICES;
        let mut items = Vec::with_capacity(self.0.len() + notices);
        let mut missing = None;
        for piece in self.0 {
            match piece {
                Piece::Gap(gap) => merge(&mut missing, gap),
                Piece::Item(item) => {
                    items.extend(notice(&mut missing, at_their_places));
                    items.push(item);
                }
                Piece::Text(text, gaps) if gaps.is_empty() || !at_their_places => {
                    items.extend(notice(&mut missing, at_their_places));
                    items.push(ContentItem::Text(text));
                }
                Piece::Text(text, gaps) => {
                    let mut from = 0;
                    for (at, gap) in gaps {
                        if let Some(part) = text.get(from..at).filter(|part| !part.is_empty()) {
                            items.extend(notice(&mut missing, at_their_places));
                            items.push(ContentItem::Text(part.to_owned()));
                            from = at;
                        }
                        merge(&mut missing, gap);
                    }
                    if let Some(part) = text.get(from..).filter(|part| !part.is_empty()) {
                        items.extend(notice(&mut missing, at_their_places));
                        items.push(ContentItem::Text(part.to_owned()));
                    }
                }
            }
        }
        items.extend(notice(&mut missing, at_their_places));
        if !at_their_places {
            items.push(all.summary());
        }
        items
    }

    /// How many places there are at which text is missing, and how much in all.
    fn notices(&self) -> (usize, Gap) {
        let mut all = Gap::default();
        let mut count = 0;
        let mut after_gap = false;
        let mut missing = |gap: Gap, after_gap: &mut bool| {
            all.add(gap);
            count += usize::from(!std::mem::replace(after_gap, true));
        };
        for piece in &self.0 {
            match piece {
                Piece::Gap(gap) => missing(*gap, &mut after_gap),
                Piece::Item(_) => after_gap = false,
                Piece::Text(text, gaps) => {
                    let mut from = 0;
                    for (at, gap) in gaps {
                        after_gap &= *at == from;
                        from = *at;
                        missing(*gap, &mut after_gap);
                    }
                    after_gap &= text.len() == from && !gaps.is_empty();
                }
            }
        }
        (count, all)
    }
}

/// Adds what is missing to what is missing right in front of it.
fn merge(missing: &mut Option<Gap>, gap: Gap) {
    missing.get_or_insert_default().add(gap);
}

/// The notice of what is missing, if something is.
fn notice(missing: &mut Option<Gap>, at_their_places: bool) -> Option<ContentItem> {
    missing.take().filter(|_| at_their_places).map(Gap::notice)
}
