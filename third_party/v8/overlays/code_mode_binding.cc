// What Code Mode needs of V8 and neither V8's interface nor the crate's binding offers.

#include "include/v8-context.h"
#include "src/api/api-inl.h"
#include "src/base/utils/random-number-generator.h"
#include "src/execution/isolate-inl.h"
#include "src/numbers/math-random.h"
#include "src/objects/contexts-inl.h"

extern "C" {

// Seeds the isolate's generator of random numbers, and has the context's one, which is behind
// Math.random, take a new seed from it. The context must be entered. An isolate that was copied by
// fork would otherwise give the same numbers as all its siblings.
void code_mode__Context__SeedRandom(const v8::Context& context, int64_t seed) {
  auto native_context = v8::Utils::OpenDirectHandle(&context);
  v8::internal::Isolate* isolate = v8::internal::Isolate::Current();
  isolate->random_number_generator()->SetSeed(seed);
  v8::internal::MathRandom::ResetContext(*native_context);
}

}  // extern "C"
