//! Total variation, the baseline.

use bilevel_data::gray::GrayImage;

/// `argmin_u 1/2 norm(u - image)^2 + weight sum_p norm(grad u)_p`, with forward differences, by `steps` accelerated
/// steps on its dual.
///
/// Source: A. Beck and M. Teboulle, "Fast gradient-based algorithms for constrained total variation image denoising and
/// deblurring problems", 2009 (FGP, without a constraint).
pub fn denoise(image: &GrayImage, weight: f64, steps: usize) -> GrayImage {
    let weight = weight as f32;
    let (height, width) = (image.height, image.width);
    let n = height * width;
    let mut p = vec![[0.0_f32; 2]; n];
    let mut q = p.clone();
    let mut t = 1.0_f32;
    let mut u = image.pixels.clone();
    for _ in 0..steps {
        primal(image, weight, &q, &mut u);
        let next = f32::midpoint(1.0, (1.0 + 4.0 * t * t).sqrt());
        let momentum = (t - 1.0) / next;
        t = next;
        for row in 0..height {
            for column in 0..width {
                let at = row * width + column;
                let down = if row + 1 < height { u[at + width] - u[at] } else { 0.0 };
                let right = if column + 1 < width { u[at + 1] - u[at] } else { 0.0 };
                let moved = [q[at][0] + down / (8.0 * weight), q[at][1] + right / (8.0 * weight)];
                let length = (moved[0] * moved[0] + moved[1] * moved[1]).sqrt().max(1.0);
                let new = moved.map(|part| part / length);
                for part in 0..2 {
                    q[at][part] = new[part] + momentum * (new[part] - p[at][part]);
                }
                p[at] = new;
            }
        }
    }
    primal(image, weight, &p, &mut u);
    GrayImage { height, width, pixels: u }
}

/// `u = image + weight div p`
fn primal(image: &GrayImage, weight: f32, p: &[[f32; 2]], u: &mut [f32]) {
    let width = image.width;
    for (at, u) in u.iter_mut().enumerate() {
        let (row, column) = (at / width, at % width);
        let mut div = 0.0;
        if row + 1 < image.height {
            div += p[at][0];
        }
        if row > 0 {
            div -= p[at - width][0];
        }
        if column + 1 < width {
            div += p[at][1];
        }
        if column > 0 {
            div -= p[at - 1][1];
        }
        *u = image.pixels[at] + weight * div;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_step_each_side_moves_by_the_weight_over_its_width() {
        // Two constants: the solution moves them towards each other by weight / pixels of a side, per row.
        let step = GrayImage::from_fn([6, 8], |_, column| if column < 4 { 0.0 } else { 10.0 });
        let u = denoise(&step, 2.0, 500);
        for (at, value) in u.pixels.iter().enumerate() {
            let expected = if at % 8 < 4 { 0.5 } else { 9.5 };
            assert!((value - expected).abs() < 1e-3, "{value} at {at}, expected {expected}");
        }
    }
}
