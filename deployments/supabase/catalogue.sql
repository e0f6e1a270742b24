-- What access.sql and storage.sql make, as (what, how): grants, row level security, views, functions,
-- triggers, policies. `brightrun setup` compares it before and after.
WITH ours AS (
    SELECT c.oid, c.relname, c.relkind, c.relrowsecurity, c.relacl, c.reloptions, n.nspname
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'brightrun' AND c.relkind IN ('r', 'S')
       OR n.nspname = 'public' AND c.relkind = 'v' AND c.relname LIKE 'brightrun%'
), granted AS (
    SELECT 'grants of ' || relname AS what, acl.* FROM ours, aclexplode(relacl) acl
    UNION ALL SELECT 'grants of ' || relname || '.' || attname, acl.*
    FROM ours JOIN pg_attribute a ON a.attrelid = ours.oid, aclexplode(a.attacl) acl
    UNION ALL SELECT 'grants of ' || proname, acl.* FROM pg_proc,
        aclexplode(coalesce(proacl, acldefault('f', proowner))) acl
    WHERE pronamespace = 'brightrun'::regnamespace
    UNION ALL SELECT 'grants of schema ' || nspname, acl.* FROM pg_namespace, aclexplode(nspacl) acl
    WHERE nspname = 'brightrun'
)
SELECT what, string_agg(coalesce(rolname, 'PUBLIC') || ' ' || privilege_type, ', '
                        ORDER BY rolname, privilege_type) AS how
FROM granted LEFT JOIN pg_roles r ON r.oid = grantee
WHERE grantee = 0 OR rolname IN ('anon', 'authenticated', 'service_role') GROUP BY what
UNION ALL SELECT 'row level security of ' || relname, relrowsecurity::text FROM ours
WHERE relkind = 'r'
UNION ALL SELECT 'view ' || relname, reloptions::text || pg_get_viewdef(oid) FROM ours
WHERE relkind = 'v'
UNION ALL SELECT 'function ' || proname, pg_get_functiondef(oid) FROM pg_proc
WHERE pronamespace = 'brightrun'::regnamespace
UNION ALL SELECT 'trigger ' || tgname, pg_get_triggerdef(t.oid) || ' ' || tgenabled::text FROM pg_trigger t
JOIN ours ON ours.oid = tgrelid WHERE NOT tgisinternal
UNION ALL SELECT 'policy ' || policyname || ' on ' || tablename, p::text FROM pg_policies p
WHERE schemaname = 'brightrun' OR schemaname = 'storage' AND policyname LIKE 'brightrun%'
UNION ALL SELECT 'role ' || pg_get_userbyid(member) || ' in ' || pg_get_userbyid(roleid), 'member'
FROM pg_auth_members WHERE 'brightrun_pod' IN (pg_get_userbyid(member), pg_get_userbyid(roleid))
