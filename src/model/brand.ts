declare const brand: unique symbol

/** `Base` that has been parsed and checked; `Name` keeps look-alikes apart at compile time. */
export type Brand<Base, Name extends string> = Base & { readonly [brand]: Name }
