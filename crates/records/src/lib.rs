//! Record batch v2: views over bytes, builder, compression, CRC.
