//! Families of operations that differ only in rank, written once as items of the `impl` block.

/// A convolution and its backward kernels.
macro_rules! conv {
    ($rank:literal: $conv:ident, $x_backward:ident, $weight_backward:ident, $bias_backward:ident) => {
        fn $conv(
            x: FloatTensor<Self>,
            weight: FloatTensor<Self>,
            bias: Option<FloatTensor<Self>>,
            options: ConvOptions<$rank>,
        ) -> FloatTensor<Self> {
            affine(x, weight, bias, 1, |x, w, b| B::$conv(x, w, b, options.clone()))
        }

        fn $x_backward(
            x: FloatTensor<Self>,
            weight: FloatTensor<Self>,
            grad: FloatTensor<Self>,
            options: ConvOptions<$rank>,
        ) -> FloatTensor<Self> {
            bilinear(weight, grad, |w, g| B::$x_backward(x.primal.clone(), w, g, options.clone()))
        }

        fn $weight_backward(
            x: FloatTensor<Self>,
            weight: FloatTensor<Self>,
            grad: FloatTensor<Self>,
            options: ConvOptions<$rank>,
        ) -> FloatTensor<Self> {
            bilinear(x, grad, |x, g| {
                B::$weight_backward(x, weight.primal.clone(), g, options.clone())
            })
        }

        fn $bias_backward(
            x: FloatTensor<Self>,
            bias: FloatTensor<Self>,
            grad: FloatTensor<Self>,
        ) -> FloatTensor<Self> {
            linear(grad, |g| B::$bias_backward(x.primal.clone(), bias.primal.clone(), g))
        }
    };
}

/// A transposed convolution and its backward kernels.
macro_rules! conv_transpose {
    ($rank:literal: $conv:ident, $x_backward:ident, $weight_backward:ident, $bias_backward:ident) => {
        fn $conv(
            x: FloatTensor<Self>,
            weight: FloatTensor<Self>,
            bias: Option<FloatTensor<Self>>,
            options: ConvTransposeOptions<$rank>,
        ) -> FloatTensor<Self> {
            affine(x, weight, bias, 1, |x, w, b| B::$conv(x, w, b, options.clone()))
        }

        fn $x_backward(
            weight: FloatTensor<Self>,
            grad: FloatTensor<Self>,
            options: ConvTransposeOptions<$rank>,
        ) -> FloatTensor<Self> {
            bilinear(weight, grad, |w, g| B::$x_backward(w, g, options.clone()))
        }

        fn $weight_backward(
            x: FloatTensor<Self>,
            weight: FloatTensor<Self>,
            grad: FloatTensor<Self>,
            options: ConvTransposeOptions<$rank>,
        ) -> FloatTensor<Self> {
            bilinear(x, grad, |x, g| {
                B::$weight_backward(x, weight.primal.clone(), g, options.clone())
            })
        }

        fn $bias_backward(
            x: FloatTensor<Self>,
            bias: FloatTensor<Self>,
            grad: FloatTensor<Self>,
        ) -> FloatTensor<Self> {
            linear(grad, |g| B::$bias_backward(x.primal.clone(), bias.primal.clone(), g))
        }
    };
}

/// An average pooling and its backward kernel; `$size` is `usize` or `[usize; 2]`.
macro_rules! avg_pool {
    ($size:ty: $pool:ident, $backward:ident) => {
        fn $pool(
            x: FloatTensor<Self>,
            kernel_size: $size,
            stride: $size,
            padding: $size,
            count_include_pad: bool,
            ceil_mode: bool,
        ) -> FloatTensor<Self> {
            linear(x, |x| B::$pool(x, kernel_size, stride, padding, count_include_pad, ceil_mode))
        }

        fn $backward(
            x: FloatTensor<Self>,
            grad: FloatTensor<Self>,
            kernel_size: $size,
            stride: $size,
            padding: $size,
            count_include_pad: bool,
            ceil_mode: bool,
        ) -> FloatTensor<Self> {
            linear(grad, |g| {
                let x = x.primal.clone();
                B::$backward(x, g, kernel_size, stride, padding, count_include_pad, ceil_mode)
            })
        }
    };
}

/// An adaptive average pooling and its backward kernel.
macro_rules! adaptive_avg_pool {
    ($size:ty: $pool:ident, $backward:ident) => {
        fn $pool(x: FloatTensor<Self>, output_size: $size) -> FloatTensor<Self> {
            linear(x, |x| B::$pool(x, output_size))
        }

        fn $backward(x: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
            linear(grad, |g| B::$backward(x.primal.clone(), g))
        }
    };
}

/// A max pooling, with and without indices, and its backward kernel. The tangent of a maximum is
/// the tangent of the entry that attains it.
macro_rules! max_pool {
    (
        $size:ty: $pool:ident, $with_indices:ident -> $pooled:ident,
        $backward:ident -> $gradient:ident
    ) => {
        fn $pool(
            x: FloatTensor<Self>,
            kernel_size: $size,
            stride: $size,
            padding: $size,
            dilation: $size,
            ceil_mode: bool,
        ) -> FloatTensor<Self> {
            if x.tangent.is_some() {
                let int = get_or_init_device_settings::<B>(&x.device()).int_dtype;
                Self::$with_indices(x, kernel_size, stride, padding, dilation, ceil_mode, int)
                    .output
            } else {
                let y = B::$pool(x.primal, kernel_size, stride, padding, dilation, ceil_mode);
                DualTensor::constant(y)
            }
        }

        fn $with_indices(
            x: FloatTensor<Self>,
            kernel_size: $size,
            stride: $size,
            padding: $size,
            dilation: $size,
            ceil_mode: bool,
            int: IntDType,
        ) -> $pooled<Self> {
            let pooled =
                B::$with_indices(x.primal, kernel_size, stride, padding, dilation, ceil_mode, int);
            let tangent = x.tangent.map(|dx| entries::<B>(dx, pooled.indices.clone()));
            $pooled::new(DualTensor { primal: pooled.output, tangent }, pooled.indices)
        }

        fn $backward(
            x: FloatTensor<Self>,
            kernel_size: $size,
            stride: $size,
            padding: $size,
            dilation: $size,
            ceil_mode: bool,
            grad: FloatTensor<Self>,
            indices: IntTensor<B>,
        ) -> $gradient<Self> {
            $gradient::new(linear(grad, |g| {
                let (x, indices) = (x.primal.clone(), indices.clone());
                B::$backward(x, kernel_size, stride, padding, dilation, ceil_mode, g, indices)
                    .x_grad
            }))
        }
    };
}
