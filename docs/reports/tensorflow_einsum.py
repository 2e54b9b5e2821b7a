"""
TensorFlow: tf.einsum with an ellipsis reads the wrong rows in float16 and bfloat16 on AVX512_FP16 or AMX.

`...b,bc->...c` of x (2, 3) and the identity should give x. On a processor with AVX512_FP16 or AMX the second row of the
answer begins with the second number of x, in place of the fourth: [[1, 2, 3], [2, 3, 4]]. `ab,bc->ac`, tf.matmul,
float32 and TF_ENABLE_ONEDNN_OPTS=0 give x. Seen with TensorFlow 2.21.0. On other processors this prints only "right".

    pip install tensorflow
    python tensorflow_einsum.py
"""

from __future__ import annotations

import tensorflow as tf

x = tf.constant([[1, 2, 3], [4, 5, 6]])
wrong = 0
for dtype in (tf.float32, tf.float16, tf.bfloat16):
    for equation in ("...b,bc->...c", "ab,bc->ac"):
        got = tf.cast(tf.einsum(equation, tf.cast(x, dtype), tf.eye(3, dtype=dtype)), tf.int32)
        right = bool(tf.reduce_all(got == x))
        wrong += not right
        print(f"{dtype.name:8} {equation:13} {'right' if right else f'wrong: {got.numpy().tolist()}'}")
print(f"tensorflow {tf.__version__}, {wrong} of 6 wrong")
