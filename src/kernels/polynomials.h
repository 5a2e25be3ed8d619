// Coefficients of the written-out functions that both kernels share.
#pragma once

namespace kvtape::kernels {

// 2^r for |r| <= 1/2, Horner from the last; relative error 2.6e-9 before
// rounding, exactly 1 at 0.
inline constexpr int kExp2Degree = 6;
inline constexpr float kExp2[kExp2Degree + 1] = {
    1.0F,           0x1.62e432p-1F,  0x1.ebfbe2p-3F, 0x1.c6ae72p-5F,
    0x1.3b270ep-7F, 0x1.5f7276p-10F, 0x1.470b4ap-13F};
// Below this 2^t is taken as 2^-126, the smallest normal number.
inline constexpr float kExp2Least = -126.0F;
// 1.5 * 2^23: adding it rounds to an integer, which the low bits then hold.
inline constexpr float kRoundMagic = 12582912.0F;

// tanh x = x + x z P(z), z = x^2, for |x| < kTanhSmall (Cephes, tanhf);
// 1 - 2 / (2^(kTanhLog |x|) + 1) above, where nothing changes from
// kTanhLarge on. Relative error about 1.5e-7.
inline constexpr float kTanhSmall = 0.625F;
inline constexpr float kTanhLarge = 20.0F;
inline constexpr float kTanhLog = 0x1.715476p+1F;  // 2 log2 e
inline constexpr int kTanhTerms = 5;
inline constexpr float kTanh[kTanhTerms] = {
    -3.33332819422e-1F, 1.33314422036e-1F, -5.37397155531e-2F,
    2.06390887954e-2F, -5.70498872745e-3F};

}  // namespace kvtape::kernels
