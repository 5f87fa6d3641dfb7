// SPDX-License-Identifier: Apache-2.0
// Prints a line by way of the sysroot's headers and libraries.
#include <stdio.h>

int main(void) {
  puts("built from C");
  return 0;
}
