//! The thread that makes plans: one at a time, so that they take one core at most from those who ask for permits.

use std::{
    sync::mpsc::{SyncSender, TrySendError, sync_channel},
    thread,
};

use tollgate_limiter::Span;

use super::super::{call::Refusal, replica::Planning, replies::Caller};

/// Plans that wait to be made; beyond it, those who ask are told to come again.
const WAITING_MAX: usize = 32;

/// When: most plans take some milliseconds.
const RETRY_AFTER: Span = Span::from_secs(1);

/// Makes plans in the background. The thread ends with this value.
pub(super) struct Planner {
    plans: SyncSender<(Box<Planning>, Caller)>,
}

impl Planner {
    pub fn start() -> std::io::Result<Planner> {
        let (plans, waiting) = sync_channel::<(Box<Planning>, Caller)>(WAITING_MAX);
        thread::Builder::new().name("planner".to_owned()).spawn(move || {
            for (planning, caller) in waiting {
                if !caller.is_closed() {
                    // Who gave up meanwhile misses nothing.
                    let _ = caller.send(Ok(planning.carry_out()));
                }
            }
        })?;
        Ok(Planner { plans })
    }

    pub fn plan(&self, planning: Box<Planning>, caller: Caller) {
        if let Err(TrySendError::Full((_, caller)) | TrySendError::Disconnected((_, caller))) =
            self.plans.try_send((planning, caller))
        {
            // Who gave up meanwhile misses nothing.
            let _ = caller.send(Err(Refusal::Overloaded { retry_after: RETRY_AFTER }));
        }
    }
}
