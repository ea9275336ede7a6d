//! The overlay protocol: what an installer executable is asked and what it answers.
