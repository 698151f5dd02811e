//! How close an image is to another: PSNR and SSIM.

use bilevel_data::gray::GrayImage;

/// The window of SSIM: a Gaussian of this many pixels and this standard deviation.
pub(super) const WINDOW: usize = 11;
const SPREAD: f64 = 1.5;
/// The constants of SSIM, for pixels in `[0, 1]`.
const C1: f64 = 0.01 * 0.01;
const C2: f64 = 0.03 * 0.03;

/// The peak signal-to-noise ratio in dB, `-10 log10(mean (a - b)^2)`, for pixels in `[0, 1]`.
pub fn psnr(a: &GrayImage, b: &GrayImage) -> f64 {
    let squares = a.pixels.iter().zip(&b.pixels).map(|(a, b)| f64::from(a - b).powi(2));
    -10.0 * (squares.sum::<f64>() / a.pixels.len() as f64).log10()
}

/// The mean structural similarity, over all windows that lie within the images.
///
/// Source: Z. Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004.
pub fn ssim(a: &GrayImage, b: &GrayImage) -> f64 {
    let blurred = |of: &dyn Fn(f64, f64) -> f64| {
        let values: Vec<f64> =
            a.pixels.iter().zip(&b.pixels).map(|(&a, &b)| of(f64::from(a), f64::from(b))).collect();
        blur(&values, a.height, a.width)
    };
    let (mean_a, mean_b) = (blurred(&|a, _| a), blurred(&|_, b| b));
    let (aa, bb, ab) = (blurred(&|a, _| a * a), blurred(&|_, b| b * b), blurred(&|a, b| a * b));
    let of_window = |at: usize| {
        let (a, b) = (mean_a[at], mean_b[at]);
        let (va, vb, cov) = (aa[at] - a * a, bb[at] - b * b, ab[at] - a * b);
        (2.0 * a * b + C1) * (2.0 * cov + C2) / ((a * a + b * b + C1) * (va + vb + C2))
    };
    (0..mean_a.len()).map(of_window).sum::<f64>() / mean_a.len() as f64
}

/// Weighted means over the windows within an image.
fn blur(values: &[f64], height: usize, width: usize) -> Vec<f64> {
    let weight = |at: usize| {
        let distance = at as f64 - (WINDOW / 2) as f64;
        (-0.5 * (distance / SPREAD).powi(2)).exp()
    };
    let sum: f64 = (0..WINDOW).map(weight).sum();
    let weights: Vec<f64> = (0..WINDOW).map(|at| weight(at) / sum).collect();
    let along = |values: &[f64], first: usize, stride: usize| -> f64 {
        weights.iter().enumerate().map(|(at, w)| w * values[first + at * stride]).sum()
    };
    let (rows, columns) = (height + 1 - WINDOW, width + 1 - WINDOW);
    let across: Vec<f64> = (0..height * columns)
        .map(|at| along(values, at / columns * width + at % columns, 1))
        .collect();
    (0..rows * columns).map(|at| along(&across, at, columns)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(value: impl FnMut(usize, usize) -> f32) -> GrayImage {
        GrayImage::from_fn([16, 20], value)
    }

    #[test]
    fn equal_images_are_alike_and_a_shift_of_a_tenth_has_20_db() {
        let a = image(|row, column| ((row * 7 + column * 3) % 11) as f32 / 22.0);
        assert!((ssim(&a, &a) - 1.0).abs() < 1e-12);
        let shifted = image(|row, column| a.at(row, column) + 0.1);
        assert!((psnr(&a, &shifted) - 20.0).abs() < 1e-4);
        assert!(ssim(&a, &shifted) < 1.0);
    }

    #[test]
    fn of_constants_only_the_means_count() {
        let (a, b) = (image(|_, _| 0.2), image(|_, _| 0.6));
        let expected = (2.0 * 0.2 * 0.6 + C1) / (0.2 * 0.2 + 0.6 * 0.6 + C1);
        assert!((ssim(&a, &b) - expected).abs() < 1e-6);
    }
}
