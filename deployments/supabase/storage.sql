-- The bucket of run folders, private, and what a pod's own token (role brightrun_pod, claim
-- brightrun_job) reaches in it: the objects of its job. Applied after access.sql where STORAGE_URL is
-- this project's own Storage; brightrun.bucket and brightrun.jobs (prefix/jobs/) are set for it.

INSERT INTO storage.buckets (id, name, public)
VALUES (current_setting('brightrun.bucket'), current_setting('brightrun.bucket'), false)
ON CONFLICT (id) DO UPDATE SET public = false WHERE buckets.public;

-- A role of its own: what the application's policies give to whoever is signed in is not a pod's.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'brightrun_pod') THEN
        CREATE ROLE brightrun_pod NOLOGIN;
    END IF;
END $$;
GRANT anon TO brightrun_pod;
GRANT brightrun_pod TO authenticator;

DROP POLICY IF EXISTS "brightrun pod" ON storage.objects;

DO $$
DECLARE
    own text := format(
        $own$
        bucket_id = %L AND starts_with(name, %L || (
            SELECT nullif(nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'brightrun_job', '')
        ) || '/')
        $own$, current_setting('brightrun.bucket'), current_setting('brightrun.jobs'));
BEGIN
    EXECUTE format(
        'CREATE POLICY "brightrun pod" ON storage.objects TO brightrun_pod USING (%s) WITH CHECK (%s)',
        own, own);
END $$;
