// A token service whose tokens are valid for a few seconds: PORT SECONDS. The
// parameter email of a request becomes a verified address in the token.
const { OAuth2Server } = require('oauth2-mock-server');

const [port, life] = process.argv.slice(2).map(Number);
const server = new OAuth2Server();
server.issuer.keys.generate('RS256').then(() => {
  server.service.on('beforeTokenSigning', (token, req) => {
    token.payload.exp = Math.floor(Date.now() / 1000) + life;
    if (req.body.email) {
      Object.assign(token.payload, { email: req.body.email, email_verified: true });
    }
  });
  server.service.on('beforeResponse', (response) => {
    response.body.expires_in = life;
  });
  return server.start(port, '127.0.0.1');
}).then(() => console.log('ready'));
