//! How much a limit allows, and what the vendor says that it allows.

/// An amount that the vendor may lower without a word.
#[derive(Clone, Copy, Debug)]
pub struct Amount {
    documented: u64,
    enforced: u64,
    told: bool,
}

impl Amount {
    pub fn documented(amount: u64) -> Amount {
        Amount { documented: amount, enforced: amount, told: false }
    }

    /// What calls are refused by.
    pub fn enforced(self) -> u64 {
        self.enforced
    }

    /// What headers say.
    pub fn shown(self) -> u64 {
        if self.told { self.enforced } else { self.documented }
    }

    /// Allows so many percent of what is documented from now on, at least 1; `told`: headers say so.
    pub fn tighten(&mut self, percent: u32, told: bool) {
        self.enforced = (self.documented * u64::from(percent) / 100).max(1);
        self.told = told;
    }
}
