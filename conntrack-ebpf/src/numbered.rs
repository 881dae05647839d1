//! One list for an enum of numbers: its variants, how many there are, and a constant of each.

/// Declares an enum that counts from 0, with `COUNT`, `ALL` in the order of the numbers, and a method
/// that returns the constant behind each variant.
macro_rules! numbered {
    (
        $(#[$enum_doc:meta])*
        enum $name:ident: $number:ident;
        $(#[$method_doc:meta])*
        fn $method:ident() -> $value:ty {
            $($(#[$doc:meta])* $variant:ident => $constant:expr,)+
        }
    ) => {
        $(#[$enum_doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr($number)]
        pub enum $name {
            $($(#[$doc])* $variant,)+
        }

        impl $name {
            /// Every one, in the order of the numbers.
            pub const ALL: [Self; Self::COUNT] = [$(Self::$variant,)+];

            /// How many there are.
            pub const COUNT: usize = [$(stringify!($variant),)+].len();

            $(#[$method_doc])*
            #[must_use]
            pub const fn $method(self) -> $value {
                match self {
                    $(Self::$variant => $constant,)+
                }
            }
        }
    };
}

pub(crate) use numbered;
