-- The bucket of run folders, private, and what a pod's own token (claim brightrun_job) reaches in it:
-- the objects of its job. Applied with access.sql where STORAGE_URL is this project's own Storage;
-- brightrun.bucket and brightrun.jobs (such as prefix/jobs/) are set for the transaction.

INSERT INTO storage.buckets (id, name, public)
VALUES (current_setting('brightrun.bucket'), current_setting('brightrun.bucket'), false)
ON CONFLICT (id) DO UPDATE SET public = false WHERE buckets.public;

DROP POLICY IF EXISTS "brightrun pod" ON storage.objects;

DO $$
DECLARE
    own text := format(
        'bucket_id = %L AND starts_with(name, %L || (SELECT brightrun.pod_job()) || ''/'')',
        current_setting('brightrun.bucket'), current_setting('brightrun.jobs'));
BEGIN
    EXECUTE format(
        'CREATE POLICY "brightrun pod" ON storage.objects TO authenticated USING (%s) WITH CHECK (%s)',
        own, own);
END $$;
