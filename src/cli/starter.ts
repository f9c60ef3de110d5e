/** What `spillway init` writes. */
export const STARTER = `# Spillway: which requests go where.
# Check it with \`spillway check\`, run it with \`spillway run\`. Keys that are left out have safe defaults;
# docs/reference/configuration.md lists them all.

listeners:
  - listen: 127.0.0.1:8080            # :8080 for every address of the machine, unix:/run/spillway.sock
    # trustedProxies: [10.0.0.0/8]    # whose X-Forwarded-For and request ids are believed; nobody's by default
    routes:                           # the first that matches takes the request
      - match: { path: /ping }
        respond: { status: 200, body: pong }
      # - match: { host: "*.shop.test", path: /v1/* }
      #   rewrite: { stripPrefix: /v1 }
      #   upstream: api
      # - match: { path: /checkout/* }                     # a canary: 5 of 100 requests
      #   split: [{ upstream: web, weight: 95 }, { upstream: api, weight: 5 }]
      - upstream: web
        # priority: high                                   # goes first when exchanges wait: high, normal or low
        # rateLimit: { key: client-ip, rate: 10, per: 1s, burst: 20 }

upstreams:
  web:
    balance: weighted-round-robin     # round-robin, least-connections, ip-hash, consistent-hash, nearest, random
    backends:
      - http://127.0.0.1:9001
      - { url: http://127.0.0.1:9002, weight: 2 }          # twice the share of the first
      # - http+unix:/run/app.sock
    healthCheck:                      # a backend that fails three checks in a row gets no traffic
      type: tcp                       # http: also asks for a path and looks at the answer
      interval: 5s
      timeout: 1s
      unhealthyAfter: 3
      healthyAfter: 1
    # affinity: { learned: { cookie: SID } }               # sticky sessions by the application's own id; off by default
    # pool: { maxConnections: 256 }   # per backend; more exchanges wait
    # circuitBreaker: { errorThreshold: 50%, openFor: 5s }  # a backend that fails gets none for a time; off by default
    # retry: { attempts: 2, perTryTimeout: 5s }             # what is safe to send twice; on by default, \`false\` for off
    # timeouts: { connect: 2s, response: 30s, idle: 60s }

# admin: { listen: 127.0.0.1:9900 }   # metrics and state; \`false\` switches it off
# log: { access: { format: combined } }
# workers: auto                       # one per core
`;
