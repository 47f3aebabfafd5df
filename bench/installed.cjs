'use strict';
// The compiled executable as it is after an installation, where no src stands beside dist.
require('../bin/start.cjs')(require('node:path').join(__dirname, '../dist/cli/main.js'));
