//! The derive macro of `bilevel-program`, which re-exports it: `#[derive(Batch)]` turns a struct or an enum
//! of tensors into the data of a loss.
//!
//! ```ignore
//! #[derive(Clone, Debug, Batch)]
//! struct Labelled {
//!     images: Tensor<4>,
//!     labels: Tensor<1, Int>,
//!     #[batch(skip)]
//!     classes: usize,
//! }
//! ```

use proc_macro_crate::{FoundCrate, crate_name};
use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Attribute, Data, DeriveInput, Error, Field, Fields, Ident, Member, Result};

/// Implements `Batch` for a struct or an enum whose fields are batches: tensors, lists, options, tuples and
/// arrays of them, and other types that derive it.
///
/// The tensors are those of the fields, in order; an enum writes its variant before them. Type parameters get the bound
/// `Batch`. A field marked `#[batch(skip)]` has no tensors: it is cloned. A recorded loss that reads such a field uses
/// its value in the first batch of these shapes, so the value must be the same in all of them.
///
/// The generated code refers to `bilevel_program`, or to `bilevel_core` or `bilevel` in a crate that depends only on
/// one of these.
#[proc_macro_derive(Batch, attributes(batch))]
pub fn derive_batch(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let input = syn::parse_macro_input!(input as DeriveInput);
    expand(input).unwrap_or_else(Error::into_compile_error).into()
}

fn expand(input: DeriveInput) -> Result<TokenStream> {
    let root = root()?;
    refuse_attributes(&input.attrs)?;
    let give = Ident::new("to", Span::mixed_site());
    let take = Ident::new("from", Span::mixed_site());
    let names = Names { batch: quote!(#root::Batch), give, take };
    let arms = match &input.data {
        Data::Struct(data) => vec![names.arm(quote!(Self), &data.fields, None)?],
        Data::Enum(data) => {
            let variants = data.variants.iter().enumerate();
            let arms = variants.map(|(index, variant)| {
                refuse_attributes(&variant.attrs)?;
                let name = &variant.ident;
                names.arm(quote!(Self::#name), &variant.fields, Some(index))
            });
            arms.collect::<Result<_>>()?
        }
        Data::Union(data) => {
            let message = "a batch is a struct or an enum: which tensors a union has is not known";
            return Err(Error::new(data.union_token.span, message));
        }
    };
    let (gives, takes): (Vec<_>, Vec<_>) = arms.into_iter().unzip();

    let Names { batch, give, take } = &names;
    let mut generics = input.generics;
    for parameter in generics.type_params_mut() {
        parameter.bounds.push(syn::parse_quote!(#batch));
    }
    let (parameters, arguments, bounds) = generics.split_for_impl();
    let name = &input.ident;
    // The compiler does not treat a reference to an enum without variants as uninhabited.
    let subject = if gives.is_empty() { quote!(*self) } else { quote!(self) };
    Ok(quote! {
        #[automatically_derived]
        #[allow(unused_variables)]
        impl #parameters #batch for #name #arguments #bounds {
            fn write_tensors(&self, #give: &mut #root::Tensors) {
                match #subject { #(#gives)* }
            }

            fn read_tensors(&self, #take: &mut #root::Tensors) -> Self {
                match #subject { #(#takes)* }
            }
        }
    })
}

/// The names used in the code of every field.
struct Names {
    /// The trait.
    batch: TokenStream,
    /// The argument of `write_tensors`.
    give: Ident,
    /// The argument of `read_tensors`.
    take: Ident,
}

impl Names {
    /// The match arms of `write_tensors` and of `read_tensors` for values of the form `path`, which is
    /// variant `index` of an enum.
    fn arm(
        &self,
        path: TokenStream,
        fields: &Fields,
        index: Option<usize>,
    ) -> Result<(TokenStream, TokenStream)> {
        let Self { batch, give, take } = self;
        let (mut members, mut gives, mut takes) = (Vec::new(), Vec::new(), Vec::new());
        for (at, field) in fields.iter().enumerate() {
            let member = match &field.ident {
                Some(name) => Member::Named(name.clone()),
                None => Member::from(at),
            };
            let value = format_ident!("field{}", at, span = Span::mixed_site());
            let (part, span) = (&field.ty, field.ty.span());
            if skipped(field)? {
                takes.push(quote_spanned!(span=> #member: ::core::clone::Clone::clone(#value)));
            } else {
                gives.push(quote_spanned!(span=> <#part as #batch>::write_tensors(#value, #give);));
                takes.push(
                    quote_spanned!(span=> #member: <#part as #batch>::read_tensors(#value, #take)),
                );
            }
            members.push(quote!(#member: #value));
        }
        let form = quote!(#path { #(#members),* });
        let note = index.map(|index| quote!(#give.variant(#index);));
        Ok((quote!(#form => { #note #(#gives)* }), quote!(#form => #path { #(#takes),* },)))
    }
}

/// Whether a field is marked `#[batch(skip)]`.
fn skipped(field: &Field) -> Result<bool> {
    let mut skip = false;
    for attribute in field.attrs.iter().filter(|attribute| attribute.path().is_ident("batch")) {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("skip") {
                skip = true;
                return Ok(());
            }
            Err(meta.error("expected `skip`"))
        })?;
    }
    Ok(skip)
}

/// Only fields may have attributes.
fn refuse_attributes(attributes: &[Attribute]) -> Result<()> {
    match attributes.iter().find(|attribute| attribute.path().is_ident("batch")) {
        Some(found) => Err(Error::new_spanned(found, "`#[batch(skip)]` belongs on a field")),
        None => Ok(()),
    }
}

/// The path, in the user's crate, of the crate that defines the trait.
fn root() -> Result<TokenStream> {
    for name in ["bilevel-program", "bilevel-core", "bilevel"] {
        let called = match crate_name(name) {
            // Tests and examples refer to the crate by its name; the library itself does so through
            // `extern crate self as`.
            Ok(FoundCrate::Itself) => name.replace('-', "_"),
            Ok(FoundCrate::Name(called)) => called,
            Err(_) => continue,
        };
        let called = Ident::new(&called, Span::call_site());
        return Ok(quote!(::#called));
    }
    let message =
        "`Batch` is a trait of bilevel, bilevel-core and bilevel-program: depend on one of them";
    Err(Error::new(Span::call_site(), message))
}
