/*
 * Licensed under the Apache License, Version 2.0 (the "License"); you may
 * not use this file except in compliance with the License. You may obtain
 * a copy of the License at
 *
 *      http://www.apache.org/licenses/LICENSE-2.0
 *
 * Unless required by applicable law or agreed to in writing, software
 * distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
 * WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
 * License for the specific language governing permissions and limitations
 * under the License.
 */

/* What is in a directory, in an order that is always the same. */
#ifndef CVM_DIRLIST_H
#define CVM_DIRLIST_H

#include <dirent.h>

/* A stream of what is in the open directory, which stays open and where it
 * is. NULL with errno. */
DIR *dirlist_open(int directory);

/* The next entry that is neither "." nor "..". NULL at the end, with errno 0,
 * or with an error. */
struct dirent *dirlist_next(DIR *stream);

/* Names in the open directory, sorted, the last followed by NULL; for
 * dirlist_free(). NULL with errno. */
char **dirlist_read(int directory);
void dirlist_free(char **names);

#endif
