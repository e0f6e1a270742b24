"""What people read: charts, the validation report, the deployment package."""
