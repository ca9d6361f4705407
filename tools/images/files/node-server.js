// Counts its visits in a file.
const fs = require('fs');
const http = require('http');
const file = '/data/visits';
const server = http.createServer((request, response) => {
  let visits = 0;
  try {
    visits = Number(fs.readFileSync(file));
  } catch (error) {
    if (error.code !== 'ENOENT') throw error;
  }
  fs.writeFileSync(file, String(visits + 1));
  response.end(`visit ${visits + 1}\n`);
});
process.on('SIGTERM', () => { console.log('bye'); process.exit(0); });
server.listen(3000, () => console.log('listening'));
