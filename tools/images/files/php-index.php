<?php
// Counts its visits in a file.
$visits = (int) @file_get_contents('/data/visits') + 1;
file_put_contents('/data/visits', $visits);
echo "visit $visits\n";
