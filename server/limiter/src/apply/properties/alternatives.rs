//! What holds of requests that several resources would do for.

use proptest::prelude::*;

use super::{
    applied, asked, figures,
    generate::{any_command, log, permit_command},
    granted_anew, walk,
};
use crate::{apply::Limiter, model::*};

/// What one of the request's resources alone would say, if the request had never been granted.
fn alone(limiter: &Limiter, stamp: Stamp, acquire: &Acquire, alternative: u32) -> Answer {
    let acquire = Acquire { request_id: None, ..acquire.clone() }.into();
    let (_, mut answers) = applied(limiter, stamp, &[Command::AcquireFrom { acquire, alternative }]);
    answers.remove(0)
}

/// The first that ends at a moment, as the answer tells it.
fn ends(denial: &Denial) -> (bool, Option<Span>) {
    (denial.retry_after.is_none(), denial.retry_after)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_first_that_has_room_is_taken_and_no_other_is_touched(log in log(permit_command(), 40)) {
        walk(&log, |before, stamp, command, answer, after| {
            let Some((put, grant)) = granted_anew(command, answer) else { return Ok(()) };
            if let Command::Acquire(acquire) = command {
                for earlier in 0..grant.alternative {
                    let passed = alone(before, stamp, acquire, earlier);
                    prop_assert!(
                        matches!(passed, Ok(Outcome::Denied(_)) | Err(Rejection::TooManyScopeValues { .. })),
                        "{earlier} was passed over, and alone it says {passed:?}"
                    );
                }
            }
            let (idle, _) = applied(before, stamp, &[]);
            for name in ["acme", "zeta"].map(|name| ResourceName::new(name).unwrap()) {
                if name != put.resource {
                    prop_assert_eq!(figures(&idle, stamp, &name), figures(after, stamp, &name));
                }
            }
            Ok(())
        })?;
    }

    #[test]
    fn what_is_granted_is_what_that_resource_alone_would_grant(log in log(permit_command(), 40)) {
        walk(&log, |before, stamp, command, answer, after| {
            let Some((put, grant)) = granted_anew(command, answer) else { return Ok(()) };
            let (alone, answers) = applied(before, stamp, &[Command::from(put.clone())]);
            let same = Grant { alternative: 0, ..grant.clone() };
            prop_assert_eq!(&answers[0], &Ok(Outcome::Granted(same)));
            prop_assert_eq!(figures(&alone, stamp, &put.resource), figures(after, stamp, &put.resource));
            Ok(())
        })?;
    }

    #[test]
    fn a_denial_is_that_of_the_resource_that_can_be_had_first(log in log(any_command(), 40)) {
        walk(&log, |before, stamp, command, answer, _| {
            let (Command::Acquire(acquire), Ok(Outcome::Denied(denial))) = (command, answer) else { return Ok(()) };
            for alternative in acquire.choices() {
                match alone(before, stamp, acquire, alternative) {
                    Ok(Outcome::Denied(other)) if alternative == denial.alternative => prop_assert_eq!(denial, &other),
                    Ok(Outcome::Denied(other)) => prop_assert!(ends(denial) <= ends(&other), "{denial:?}, but {other:?}"),
                    other => prop_assert!(false, "denied, and {alternative} alone says {other:?}"),
                }
            }
            Ok(())
        })?;
    }

    #[test]
    fn a_retry_gets_the_same_permit_of_the_same_resource(log in log(permit_command(), 40)) {
        walk(&log, |_, stamp, command, answer, after| {
            let Some((Acquire { request_id: Some(_), .. }, grant)) = granted_anew(command, answer) else { return Ok(()) };
            let Some(acquire) = asked(command) else { return Ok(()) };
            let repeated = acquire.choices().map(|alternative| Command::AcquireFrom { acquire: acquire.clone().into(), alternative });
            for retry in repeated.chain([Command::from(acquire.clone())]) {
                let (_, answers) = applied(after, stamp, &[retry]);
                let Ok(Outcome::Granted(replay)) = &answers[0] else {
                    return Err(TestCaseError::fail(format!("not replayed: {answers:?}")));
                };
                prop_assert!(replay.replayed);
                prop_assert_eq!((replay.permit, replay.alternative), (grant.permit, grant.alternative));
            }
            Ok(())
        })?;
    }
}
