//! One replica, pure: ISR, high watermark, leader epochs, producer state.
