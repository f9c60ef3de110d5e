// What is compared with what: in a group all get the same requests, and the first has affinity and place off.

/** @typedef {import("../candidates/spillway.mjs").Extras} Extras */

/**
 * @typedef {object} Variant one Spillway
 * @property {string} id
 * @property {string} label
 * @property {Extras} extras
 * @property {string} [counts] the counter that has to count every request, or something else was measured
 * @property {number} [most] what it may cost, as a ratio to the first of its group
 */

/**
 * @typedef {object} Requests what they carry besides the head
 * @property {string} [cookie] a pair in the Cookie field
 * @property {string} [lines] further fields, each ended by CR LF
 */

/**
 * @typedef {object} Group
 * @property {string} title what the requests carry
 * @property {(client: number) => Requests} [carry] what the requests of one client do
 * @property {"by-spillway" | "by-backend"} [begun] they carry the cookie of a session: who gave it to the client
 * @property {readonly Variant[]} variants the first is what the others are compared with
 */

/**
 * @typedef {object} Parts what has to be there first
 * @property {string} geoip path of a database that knows where 127.0.0.1 is
 * @property {string | undefined} redis URL; undefined: there is none
 */

/** @param {number} client */
const sessionId = (client) => (client + 1).toString(16).padStart(16, "0");
const never = "ttl: 1d"; // renewed after 2.4 hours: not while this runs

/** @param {string} by @param {string} [more] @returns {Extras} */
const affinity = (by, more = "") => ({ upstream: `    affinity: { ${by}, ${never}${more} }\n` });
const kept = 'spillway_affinity_kept_total{upstream="web"}';
const cookie = affinity("cookie: spillway", ', key: "a key for the benchmark"');

/** @param {string} source */
const located = (source) => `spillway_client_positions_total{source="${source}"}`;
/** All backends are in one place, so that they are balanced as evenly as without. */
const place = { latitude: 37.5, longitude: 127 };
const nearest = {
  balance: "{ policy: nearest, withinKm: 50 }",
  backend: `, location: { latitude: ${place.latitude}, longitude: ${place.longitude} }`,
};
/** @param {string} position @returns {string} */
const clientPosition = (position) => `    clientPosition: { ${position} }\n`;
const trusting = "    trustedProxies: [127.0.0.1]\n";

/** @param {Parts} parts @returns {readonly Group[]} */
export function groupsOf({ geoip, redis }) {
  return [
    {
      title: "nothing more",
      variants: [
        { id: "off", label: "off", extras: {} },
        { id: "off-again", label: "off, a second time", extras: {} },
        {
          id: "cookie-new",
          label: "cookie, every answer begins a session",
          counts: 'spillway_affinity_begun_total{upstream="web"}',
          extras: cookie,
        },
        { id: "client-ip", label: "client-ip", counts: kept, extras: affinity("client-ip: true") },
        { id: "least", label: "off, least connections", extras: { balance: "least-connections" } },
        {
          id: "nearest-default",
          label: "nearest, default position",
          counts: located("default"),
          extras: { ...nearest, listener: clientPosition("default: { latitude: 35.2, longitude: 129.1 }") },
        },
        {
          id: "nearest-geoip",
          label: "nearest, position from a database, cached",
          counts: located("geoip"),
          extras: { ...nearest, listener: clientPosition(`geoip: "${geoip}"`) },
          most: 1.04,
        },
      ],
    },
    {
      title: "Spillway's cookie",
      begun: "by-spillway",
      variants: [
        { id: "cookie-off", label: "off", extras: {} },
        { id: "cookie", label: "cookie", counts: kept, extras: cookie, most: 1.06 },
      ],
    },
    {
      title: "the application's cookie",
      begun: "by-backend",
      variants: [
        { id: "learned-off", label: "off", extras: {} },
        { id: "learned", label: "learned cookie", counts: kept, extras: affinity("learned: { cookie: SID }") },
      ],
    },
    {
      title: "a session id in a field",
      carry: (client) => ({ lines: `X-Session: ${sessionId(client)}\r\n` }),
      variants: [
        { id: "header-off", label: "off", extras: {} },
        { id: "header", label: "header", counts: kept, extras: affinity("header: x-session") },
        ...(redis === undefined
          ? []
          : [
              {
                id: "redis",
                label: "header, store in Redis",
                counts: kept,
                extras: affinity("header: x-session", `, store: "${redis}"`),
              },
            ]),
      ],
    },
    {
      title: "a position, from a trusted proxy",
      carry: (client) => ({ lines: `X-Latitude: ${35 + client / 100}\r\nX-Longitude: 129.0756\r\n` }),
      variants: [
        { id: "nearest-header-off", label: "off", extras: { listener: trusting } },
        {
          id: "nearest-header",
          label: "nearest, position from fields",
          counts: located("header"),
          extras: {
            ...nearest,
            listener: trusting + clientPosition("headers: { latitude: x-latitude, longitude: x-longitude }"),
          },
        },
      ],
    },
  ];
}

/**
 * The groups with these variants alone, and what they are compared with. Unknown names are answered with in `unknown`.
 * @param {readonly Group[]} groups @param {readonly string[] | undefined} wanted undefined: all
 */
export function choose(groups, wanted) {
  if (wanted === undefined) return { chosen: groups, unknown: [] };
  const known = groups.flatMap(({ variants }) => variants.map(({ id }) => id));
  const chosen = groups.flatMap((group) => {
    const variants = group.variants.filter(({ id }, i) => i === 0 || wanted.includes(id));
    return group.variants.some(({ id }) => wanted.includes(id)) ? [{ ...group, variants }] : [];
  });
  return { chosen, unknown: wanted.filter((id) => !known.includes(id)) };
}

/**
 * The fields of a request: a browser that has cookies adds one more to the field that it sends anyway.
 * @param {string} head fields, each ended by CR LF @param {Requests} requests
 */
export function fieldsOf(head, { cookie: pair, lines = "" }) {
  if (pair === undefined) return head + lines;
  const field = /^Cookie: .*$/im;
  const withCookie = field.test(head)
    ? head.replace(field, (line) => `${line}; ${pair}`)
    : `${head}Cookie: ${pair}\r\n`;
  return withCookie + lines;
}
