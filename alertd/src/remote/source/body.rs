//! The bytes of an answer, counted among those of all answers that are held at a time.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Of one permit.
const UNIT: usize = 1024;

/// Memory for answers, shared by those that are under way.
#[derive(Debug, Clone)]
pub(super) struct Space(Arc<Semaphore>);

impl Space {
    pub(super) fn new(bytes: usize) -> Space {
        Space(Arc::new(Semaphore::new(bytes / UNIT)))
    }
}

/// What has come of an answer so far; its share is free again when it goes.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) bytes: Vec<u8>,
    space: Space,
    held: Option<OwnedSemaphorePermit>,
}

/// The space is used up.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Body {
    pub(super) fn new(space: &Space) -> Body {
        Body { bytes: Vec::new(), space: space.clone(), held: None }
    }

    /// Does not wait for space: two answers that are half there could wait for each other.
    pub(super) fn add(&mut self, chunk: &[u8]) -> Result<(), Full> {
        let needed = (self.bytes.len() + chunk.len()).div_ceil(UNIT);
        let held = self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        if needed > held {
            // As much as the buffer will grow by, so that most chunks ask for nothing.
            let wanted = needed.max(2 * held) - held;
            let wanted = u32::try_from(wanted).map_err(|_| Full)?;
            let more = Arc::clone(&self.space.0).try_acquire_many_owned(wanted);
            let more = more.map_err(|_| Full)?;
            match &mut self.held {
                Some(held) => held.merge(more),
                none => *none = Some(more),
            }
            self.bytes.reserve_exact((held + wanted as usize) * UNIT - self.bytes.len());
        }
        self.bytes.extend_from_slice(chunk);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_answers_together_have_a_limit() {
        let space = Space::new(100 * UNIT);
        let mut one = Body::new(&space);
        for _ in 0..60 {
            one.add(&[7; UNIT]).unwrap();
        }
        assert_eq!((one.bytes.len(), one.bytes.capacity()), (60 * UNIT, 64 * UNIT));
        let mut other = Body::new(&space);
        other.add(&[7; 36 * UNIT]).unwrap();
        assert_eq!(other.add(&[7]), Err(Full));
        assert_eq!(other.bytes.len(), 36 * UNIT);
        drop(one);
        other.add(&[7]).unwrap();
        drop(other);
        assert_eq!(space.0.available_permits(), 100);
    }
}
