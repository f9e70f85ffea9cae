// The npm peers, found in the folder this is run in.  Usage: node peers.cjs NAME PORT [COUNT]
// A sender prints one MSA-1 and MSA-2 for each message and exits; a receiver prints "listening" and runs until it is killed.
const { createRequire } = require("module");
const load = createRequire(process.cwd() + "/");
const [name, port, count] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4] || 1)];

function body(number) {
  return [
    `MSH|^~\\&|NODE|RIVER|HUB|RIVER|20261123090000||ADT^A04^ADT_A01|${name}-${number}|P|2.5`,
    "EVN|A04|20261123090000",
    "PID|1||00042^^^RIVER^MR||DOE^JANE||19800229|F",
  ].join("\r");
}

const peers = {
  "node-hl7-client": async () => {
    const { Client, Message } = load("node-hl7-client");
    const client = new Client({ host: "127.0.0.1" });
    // A second message before the first is answered makes it open another connection: one after the other.
    let next = 0;
    const send = () => connection.sendMessage(new Message({ text: body(next++) }));
    const connection = client.createConnection({ port, waitAck: true }, (answer) => {
      const message = answer.getMessage();
      console.log(message.get("MSA.1").toString(), message.get("MSA.2").toString());
      if (next === count) process.exit(0);
      setImmediate(send);
    });
    connection.on("data.error", (error) => console.error(error));
    await new Promise((resolve) => connection.once("connect", resolve));
    await send();
  },
  "simple-hl7-client": async () => {
    const hl7 = load("simple-hl7");
    const client = hl7.Server.createTcpClient({ host: "127.0.0.1", port, keepalive: true });
    const parser = new hl7.Parser({ segmentSeperator: "\r" });
    await new Promise((resolve, reject) => client.connect((error) => (error ? reject(error) : resolve())));
    const next = (number) =>
      client.send(parser.parse(body(number)), (error, answer) => {
        if (error) throw error;
        const msa = answer.getSegment("MSA");
        console.log(msa.getField(1), msa.getField(2));
        // It refuses a second send within the callback of the first one.
        if (number + 1 < count) setImmediate(next, number + 1);
        else process.exit(0);
      });
    next(0);
  },
  "node-hl7-server": async () => {
    const { Server } = load("node-hl7-server");
    const inbound = new Server().createInbound({ port }, async (_, response) => response.sendResponse("AA"));
    inbound.on("listen", () => console.log("listening"));
  },
  "simple-hl7-server": async () => {
    const app = load("simple-hl7").tcp();
    app.use((request, response) => response.end());
    app.start(port).server.on("listening", () => console.log("listening"));
  },
};

peers[name]().catch((error) => {
  console.error(error);
  process.exit(1);
});
