// SPDX-License-Identifier: Apache-2.0
// Whether a token's value is overwritten before its memory is given back: this program's free()
// looks.

#include <smartkey.h>
#include <stdio.h>

void __libc_free(void* memory);

static const char* watched;
static int freed;
static int wiped;

void free(void* memory) {
  if (memory != NULL && memory == watched) {
    ++freed;
    wiped = watched[0] == '\0' && watched[1] == '\0';
  }
  __libc_free(memory);
}

int main(void) {
  smartkey_client* client = smartkey_client_connect(NULL, NULL);
  smartkey_token_request* request = smartkey_token_request_new("mercy");
  smartkey_token* token = smartkey_client_get_token(client, request, 0, NULL);
  smartkey_token_request_free(request);
  if (token == NULL) return 1;
  watched = smartkey_token_value(token);
  smartkey_token* copy = smartkey_token_copy(token);
  smartkey_token_free(token);
  printf("after the first: %d\n", freed);
  smartkey_token_free(copy);
  printf("after the last: %d, wiped %d\n", freed, wiped);
  smartkey_client_free(client);
  return 0;
}
